"""Detectors for secrets with a published prefix: one line per format.

Each provider says how its credentials begin so that scanners can find them; the page that says so stands
beside the format. A format is a prefix, which is searched for, and what has to follow it. Only credentials
are here: publishable keys, account numbers and identifiers that open nothing are not. Where a provider is
stricter than what is read here, others have made tokens that are not: to hide one that is none costs little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mpp_exec.patterns import lazily
from mpp_exec.privacy import anchors, meter
from mpp_exec.privacy.finding import Candidate, is_word, listed

_W: Final = "[0-9A-Za-z]"  # what most tokens are made of
_U: Final = "[0-9A-Za-z_-]"  # base64url
_B: Final = "[0-9A-Za-z+/]"  # base64
_H: Final = "[0-9a-f]"
_N: Final = "(?=[A-Za-z_=-]{0,100}[0-9])"  # in a random string of such a length there is a digit
_UUID: Final = f"{_H}{{8}}-{_H}{{4}}-{_H}{{4}}-{_H}{{4}}-{_H}{{12}}"

FORMATS: Final = (
    ("slack_token", "xoxb- xoxp- xoxa- xoxo- xoxs- xoxr- xoxe- xoxc- xoxd- xapp- xoxe.xox", f"{_W}[0-9A-Za-z%/+=-]{{10,400}}", "api.slack.com/concepts/token-types"),
    ("slack_webhook", "hooks.slack.com/services/ hooks.slack.com/workflows/", f"{_W}[0-9A-Za-z/]{{18,120}}", "api.slack.com/messaging/webhooks"),
    ("stripe_key", "sk_live_ sk_test_ rk_live_ rk_test_", f"{_W}{{10,247}}", "docs.stripe.com/keys"),
    ("stripe_key", "sk_org_ sk_org_live_ sk_org_test_", f"{_W}{{20,247}}", "docs.stripe.com/keys/organization-api-keys"),
    ("stripe_webhook_secret", "whsec_", "[0-9A-Za-z+/=]{24,80}", "docs.stripe.com/webhooks/signature"),
    ("google_api_key", "AIza", f"{_U}{{35}}(?!{_U})", "cloud.google.com/docs/authentication/api-keys"),
    ("google_api_key", "AQ.Ab", f"{_U}{{40,64}}(?!{_U})", "cloud.google.com/docs/authentication/api-keys"),
    ("google_oauth_secret", "GOCSPX-", f"{_U}{{24,40}}", "developers.google.com/identity/protocols/oauth2"),
    ("google_oauth_token", "ya29.", f"{_U}{{20,1024}}", "developers.google.com/identity/protocols/oauth2"),
    ("gitlab_token", "glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glimt- glagent- gloas- glrtr- glwt- glffct- GR1348941", r"[0-9A-Za-z_.-]{20,300}", "docs.gitlab.com/security/tokens"),
    ("npm_token", "npm_", f"{_W}{{36}}(?!{_W})", "docs.npmjs.com/about-access-tokens"),
    ("packagist_token", "packagist_ort_ packagist_out_ packagist_uut_", f"{_H}{{68}}", "packagist.com/docs/composer-authentication"),
    ("pypi_token", "pypi-", f"{_U}{{50,1000}}", "warehouse.pypa.io/development/token-scanning"),
    ("rubygems_key", "rubygems_", f"{_H}{{48}}", "guides.rubygems.org/api-key-scopes"),
    ("openai_key", "sk-proj- sk-svcacct- sk-admin- sk-None-", f"{_U}{{20,300}}", "platform.openai.com/docs/api-reference/authentication"),
    ("openai_key", "sk-", f"{_W}{{20,64}}T3BlbkFJ{_W}{{20,64}}|(?={_U}{{0,60}}[0-9]){_W}{{32,64}}(?!{_U})", "platform.openai.com/docs/api-reference/authentication"),
    ("anthropic_key", "sk-ant-", f"{_U}{{32,200}}", "docs.anthropic.com/en/api"),
    ("openrouter_key", "sk-or-v1-", f"{_H}{{64}}", "openrouter.ai/docs/api-reference/authentication"),
    ("huggingface_token", "hf_ api_org_", "[A-Za-z]{34}(?![0-9A-Za-z])", "huggingface.co/docs/hub/security-tokens"),
    ("replicate_token", "r8_", f"{_W}{{37,40}}", "replicate.com/docs/topics/security/api-tokens"),
    ("perplexity_key", "pplx-", f"{_W}{{40,64}}", "docs.perplexity.ai"),
    ("groq_key", "gsk_", f"{_W}{{48,60}}", "console.groq.com/docs"),
    ("xai_key", "xai-", f"{_U}{{70,90}}", "docs.x.ai"),
    ("sendgrid_key", "SG.", rf"{_U}{{16,32}}\.{_U}{{16,64}}", "docs.sendgrid.com/ui/account-and-settings/api-keys"),
    ("brevo_key", "xkeysib- xsmtpsib-", f"{_H}{{64}}-{_W}{{16}}", "developers.brevo.com"),
    ("mailgun_key", "key- pubkey-", f"{_H}{{32}}(?!{_W})", "documentation.mailgun.com"),
    ("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", f"{_H}{{64}}", "docs.digitalocean.com/reference/api"),
    ("heroku_key", "HRKU-", f"{_U}{{36,70}}", "devcenter.heroku.com/articles/authentication"),
    ("netlify_token", "nfp_ nfc_ nfo_ nfu_ nfb_", f"[0-9A-Za-z_]{{36,40}}(?!{_W})", "answers.netlify.com/t/change-to-the-netlify-authentication-token-format/106146"),
    ("fly_token", "fo1_ fm1_ fm1a_ fm1r_ fm2_", "[0-9A-Za-z_+/=,-]{40,700}", "fly.io/docs/security/tokens"),
    ("planetscale_token", "pscale_tkn_ pscale_pw_ pscale_oauth_", r"[0-9A-Za-z_.=-]{32,64}", "planetscale.com/docs"),
    ("supabase_token", "sbp_ sb_secret_", f"{_U}{{20,60}}", "supabase.com/docs/guides/api/api-keys"),
    ("databricks_token", "dapi", f"{_H}{{32}}(?:-[0-9])?(?!{_W})", "docs.databricks.com/dev-tools/auth/pat"),
    ("atlassian_token", "ATATT3 ATCTT3 ATBB", r"[0-9A-Za-z_=+/-]{20,250}", "support.atlassian.com"),
    ("shopify_token", "shpat_ shpss_ shppa_ shpca_ shptka_", "[0-9A-Fa-f]{32}", "shopify.dev/changelog/length-of-the-shopify-access-token-is-increasing"),
    ("square_token", "sq0atp- sq0csp- sq0idp- EAAAE", f"{_U}{{22,60}}", "developer.squareup.com/docs/build-basics/access-tokens"),
    ("plaid_token", "access-sandbox- access-development- access-production-", _UUID, "plaid.com/docs/api/tokens"),
    ("paypal_token", "access_token$production$ access_token$sandbox$", rf"{_W}{{16}}\${_H}{{32}}", "developer.paypal.com/braintree/docs"),
    ("flutterwave_key", "FLWSECK- FLWSECK_TEST- FLWPUBK_TEST-", f"{_W}{{12,40}}(?:-X)?", "developer.flutterwave.com/docs"),
    ("vault_token", "hvs. hvb. hvr.", f"{_U}{{20,300}}", "developer.hashicorp.com/vault/docs/concepts/tokens"),
    ("terraform_token", ".atlasv1.", "[0-9A-Za-z_=-]{60,70}", "developer.hashicorp.com/terraform/cloud-docs/api-docs"),
    ("doppler_token", "dp.pt. dp.st. dp.ct. dp.sa. dp.said. dp.scim. dp.audit.", r"(?:[a-z0-9_-]{2,35}\.)?[0-9A-Za-z_.-]{40,60}", "docs.doppler.com/docs/token-formats"),
    ("pulumi_token", "pul-", f"{_H}{{40}}", "pulumi.com/docs/administration/access-identity/access-tokens"),
    ("onepassword_token", "ops_", "eyJ[0-9A-Za-z+/_=-]{100,2000}", "developer.1password.com/docs/service-accounts"),
    ("onepassword_secret_key", "A3-", r"[0-9A-Z]{6}-(?:[0-9A-Z]{11}|[0-9A-Z]{6}-[0-9A-Z]{5})(?:-[0-9A-Z]{5}){3}", "support.1password.com/secret-key-security"),
    ("age_secret_key", "AGE-SECRET-KEY-1 AGE-SECRET-KEY-PQ-1", "[0-9A-Z]{58}", "age-encryption.org/v1"),
    ("grafana_token", "glsa_ glc_", r"[0-9A-Za-z_+/=-]{32,420}", "grafana.com/docs/grafana/latest/administration/service-accounts"),
    ("newrelic_key", "NRAK- NRII- NRIQ- NRRA- NRJS- NRBR- NRSP- NRAA-", f"{_U}{{19,48}}", "docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys"),
    ("sentry_token", "sntrys_ sntryu_ sntrya_ sntryi_", r"[0-9A-Za-z_+/=-]{40,500}", "docs.sentry.io/security-legal-pii/security/token-formats"),
    ("dynatrace_token", "dt0c01. dt0s01. dt0s02. dt0a01.", r"[0-9A-Z]{24}\.[0-9A-Z]{64}", "docs.dynatrace.com/docs/dynatrace-api/basics"),
    ("launchdarkly_key", "sdk- api- mob-", _UUID, "launchdarkly.com/docs/home/account/environment/keys"),
    ("linear_key", "lin_api_ lin_oauth_", f"{_W}{{32,64}}", "linear.app/developers"),
    ("notion_token", "ntn_", f"[0-9]{{11}}{_W}{{32,39}}(?!{_W})", "developers.notion.com/docs/authorization"),
    ("notion_token", "secret_", f"{_W}{{43}}(?!{_W})", "developers.notion.com/docs/authorization"),
    ("airtable_token", "pat", rf"{_W}{{14}}\.{_W}{{40,120}}(?!{_W})", "airtable.com/developers/web/guides/personal-access-tokens"),
    ("figma_token", "figd_ figu_ figp_", f"{_U}{{38,64}}", "developers.figma.com/docs/rest-api/authentication"),
    ("typeform_token", "tfp_", r"[0-9A-Za-z_.=-]{40,64}", "www.typeform.com/developers/get-started/personal-access-token"),
    ("postman_key", "PMAK-", f"{_H}{{24}}-{_H}{{34}}", "learning.postman.com/docs/developer/postman-api/authentication"),
    ("docker_token", "dckr_pat_ dckr_oat_", f"{_U}{{20,64}}", "docs.docker.com/security/access-tokens"),
    ("artifactory_token", "AKCp", f"{_W}{{12,69}}", "jfrog.com/help/r/jfrog-platform-administration-documentation"),
    ("artifactory_token", "cmVmdGtu", f"{_W}{{56}}", "jfrog.com/help/r/jfrog-platform-administration-documentation"),
    ("tailscale_key", "tskey-", r"(?:api|auth|client|scim|webhook)-[0-9A-Za-z-]{12,80}", "tailscale.com/docs/reference/key-prefixes"),
    ("sourcegraph_token", "sgp_ sgph_ slk_", r"(?:[0-9A-Za-z]{1,32}_(?:local_)?)?[0-9a-fA-F]{40,64}(?![0-9A-Za-z])", "github.com/sourcegraph/src-cli"),
    ("segment_token", "sgp_", f"{_W}{{64}}(?!{_W})", "segment.com/docs/api/public-api"),
    ("sonar_token", "sqp_ squ_ sqa_", f"{_H}{{40}}", "docs.sonarsource.com/sonarqube-server/user-guide/managing-tokens"),
    ("buildkite_token", "bkua_ bkaa_ bkaj_ bkar_ bkct_", "[0-9A-Za-z][0-9A-Za-z_.-]{29,800}", "buildkite.com/docs/platform/security/tokens"),
    ("circleci_token", "CCIPAT_ CCIPRJ_", f"{_W}{{10,30}}_{_H}{{40}}", "circleci.com/changelog/new-format-for-api-access-tokens"),
    ("contentful_token", "CFPAT-", f"{_U}{{43}}", "www.contentful.com/developers/docs/references/authentication"),
    ("clojars_token", "CLOJARS_", f"{_W}{{60}}", "github.com/clojars/clojars-web"),
    ("adafruit_key", "aio_", f"{_W}{{28}}(?!{_W})", "io.adafruit.com/api/docs"),
    ("duffel_token", "duffel_test_ duffel_live_", "[0-9A-Za-z_=-]{43}", "duffel.com/docs/api/overview"),
    ("easypost_key", "EZAK EZTK", f"{_W}{{54}}", "docs.easypost.com/docs/authentication"),
    ("frameio_token", "fio-u-", "[0-9A-Za-z_=-]{64}", "developer.adobe.com/frameio"),
    ("prefect_key", "pnu_ pnb_", f"{_W}{{36}}", "docs.prefect.io"),
    ("readme_key", "rdme_", f"{_W}{{70,72}}", "docs.readme.com"),
    ("render_key", "rnd_", f"{_W}{{28,40}}", "render.com/docs/api"),
    ("intra42_secret", "s-s4t2ud- s-s4t2af-", f"{_H}{{64}}", "api.intra.42.fr/apidoc"),
    ("scalingo_token", "tk-us-", f"{_U}{{48}}", "developers.scalingo.com"),
    ("alibaba_key_id", "LTAI", f"{_W}{{12,26}}(?!{_W})", "www.alibabacloud.com/help/en/ram"),
    ("dropbox_token", "sl.", f"{_U}{{130,152}}", "www.dropbox.com/developers/reference/auth-types"),
    ("facebook_token", "EAAM EAAC EAAD EAAG EAAB EAAI", f"{_W}{{40,300}}", "developers.facebook.com/docs/facebook-login/guides/access-tokens"),
    ("twitter_bearer", "AAAAAAAAAAAAAAAAAAAAA", "[0-9A-Za-z%]{60,100}", "developer.x.com/en/docs/authentication/oauth-2-0/bearer-tokens"),
    ("azure_client_secret", "Q~", r"[0-9A-Za-z_.~-]{31,34}(?![0-9A-Za-z_.~-])", "learn.microsoft.com/entra/identity-platform"),
    ("appsync_key", "da2-", "[a-z0-9]{26}(?![0-9A-Za-z])", "docs.aws.amazon.com/appsync/latest/devguide/security-authz.html"),
    ("bedrock_key", "ABSK bedrock-api-key-", "[0-9A-Za-z+/=]{60,300}", "docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html"),
    ("mapbox_token", "sk.eyJ pk.eyJ tk.eyJ", rf"{_U}{{40,200}}\.{_U}{{20,30}}", "docs.mapbox.com/accounts/guides/tokens"),
    ("discord_webhook", "discord.com/api/webhooks/ discordapp.com/api/webhooks/", f"[0-9]{{17,20}}/{_U}{{60,80}}", "discord.com/developers/docs/resources/webhook"),
    ("teams_webhook", ".webhook.office.com/webhookb2/ outlook.office.com/webhook/", r"[0-9a-f@-]{36,80}/IncomingWebhook/[0-9a-f]{32}/[0-9a-f-]{36}", "learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors"),
    ("zapier_webhook", "hooks.zapier.com/hooks/catch/", "[0-9A-Za-z]{4,20}/[0-9A-Za-z]{4,20}|[0-9A-Za-z]{16,20}", "help.zapier.com"),
    ("tines_webhook", ".tines.com/webhook/", f"{_H}{{32}}/{_H}{{32}}", "www.tines.com/docs/actions/types/webhook"),
    ("dependency_track_key", "odt_", f"{_W}{{32,40}}", "docs.dependencytrack.org/integrations/rest-api"),
    ("tavily_key", "tvly-", f"{_U}{{28,64}}", "docs.tavily.com"),
    ("elevenlabs_key", "sk_", f"{_H}{{48}}(?:_residency_[a-z0-9]{{1,12}})?(?!{_W})", "elevenlabs.io/docs/api-reference/authentication"),
    ("hubspot_token", "pat-na1- pat-eu1- pat-na2- pat-na3- pat-ap1-", _UUID, "developers.hubspot.com/docs/guides/apps/private-apps"),
    ("clickup_token", "pk_", f"[0-9]{{5,10}}_[0-9A-Z]{{32}}(?!{_W})", "developer.clickup.com/docs/authentication"),
    ("twitch_stream_key", "live_", f"[0-9]{{6,12}}_{_W}{{24,40}}", "help.twitch.tv/s/article/twitch-stream-key-faq"),
    ("gocardless_token", "live_ sandbox_", r"(?=[A-Za-z_=-]{0,38}[0-9])[0-9A-Za-z_=-]{40}(?![0-9A-Za-z_=-])", "developer.gocardless.com"),
    ("nuget_key", "oy2", "[a-z0-9]{43}(?![0-9A-Za-z])", "github.com/NuGet/NuGetGallery"),
    ("azure_devops_token", "AZDO", f"{_W}{{4}}(?!{_W})", "learn.microsoft.com/purview/sit-defn-azure-devops-personal-access-token"),
    ("azure_cognitive_key", "JQQJ99 JQQJ9D JQQJ9H", f"{_W}{{26}}(?:{_W}{{2}}==)?(?!{_W})", "github.com/microsoft/security-utilities"),
    ("zoho_token", "1000.", rf"{_H}{{32}}\.{_H}{{32}}", "www.zoho.com/accounts/protocol/oauth.html"),
    ("salesforce_token", "00D", rf"{_W}{{12,15}}![0-9A-Za-z_.]{{80,140}}", "developer.salesforce.com/docs"),
    ("google_refresh_token", "1//0", f"{_U}{{40,200}}", "developers.google.com/identity/protocols/oauth2"),
    ("grafana_legacy_key", "eyJrIjoi", "[0-9A-Za-z+/=]{60,400}", "grafana.com/docs/grafana/latest/developers/http_api/authentication"),
    ("pinecone_key", "pcsk_", f"{_U}{{40,90}}", "docs.pinecone.io/guides/projects/manage-api-keys"),
    ("langfuse_key", "sk-lf-", f"{_U}{{20,80}}", "github.com/langfuse/langfuse"),
    ("langsmith_key", "lsv2_pt_ lsv2_sk_", f"{_H}{{32}}_{_H}{{10}}", "docs.smith.langchain.com"),
    ("nvidia_key", "nvapi-", f"{_U}{{40,128}}", "docs.api.nvidia.com"),
    ("cerebras_key", "csk-", f"{_W}{{40,60}}", "inference-docs.cerebras.ai"),
    ("fireworks_key", "fw_", f"{_W}{{22,48}}(?!{_W})", "docs.fireworks.ai"),
    ("resend_key", "re_", f"{_W}{{8}}_{_W}{{24}}(?!{_W})", "resend.com/docs/api-reference"),
    ("mailersend_key", "mlsn.", f"{_U}{{40,80}}", "github.com/mailersend/mailersend-nodejs"),
    ("posthog_key", "phx_ phs_", f"{_W}{{40,64}}", "github.com/PostHog/posthog"),
    ("cloudflare_token", "cfk_ cfut_ cfat_", f"{_U}{{41,64}}(?!{_U})", "developers.cloudflare.com/fundamentals/api/get-started/token-formats"),
    ("cloudflare_ca_key", "v1.0-", f"{_H}{{24}}-{_H}{{146}}", "developers.cloudflare.com/fundamentals/api/get-started/ca-keys"),
    ("shippo_token", "shippo_live_ shippo_test_", f"{_H}{{40}}", "docs.goshippo.com"),
    ("flexport_token", "shltm_", f"{_U}{{30,60}}", "developers.flexport.com"),
    ("fleetbase_key", "flb_live_ flb_test_", f"{_W}{{20,40}}", "docs.fleetbase.io"),
    ("voiceflow_key", "VF.DM. VF.WS. VF.", rf"{_H}{{24}}\.{_W}{{16}}", "docs.voiceflow.com"),
    ("ubidots_key", "BBFF- BBUS-", f"{_W}{{30,40}}", "docs.ubidots.com"),
    ("teamwork_token", "tkn.v1_", "[0-9A-Za-z+/=]{64,80}", "apidocs.teamwork.com"),
    ("frameio_token", "ffio-u-", "[0-9A-Za-z_=-]{64}", "developer.adobe.com/frameio"),
    ("apify_token", "apify_api_", f"{_W}{{20,128}}(?!{_U})", "github.com/apify/awesome-skills"),
    ("snyk_token", "snyk_uat. snyk_sat.", rf"{_W}{{8}}\.{_U}{{30,300}}", "docs.snyk.io"),
    ("aikido_token", "AIK_RUNTIME_ AIK_CLIENT_ AIK_SECRET_", f"{_W}[0-9A-Za-z_]{{20,100}}", "help.aikido.dev"),
    ("checkout_key", "sk_sbox_", f"{_W}{{20,40}}", "www.checkout.com/docs"),
    ("razorpay_key", "rzp_live_ rzp_test_", f"{_W}{{14}}(?!{_W})", "razorpay.com/docs/api/authentication"),
    ("mercadopago_token", "APP_USR-", rf"[0-9]{{10,20}}-[0-9]{{6}}-{_H}{{32}}", "www.mercadopago.com/developers"),
    ("yandex_token", "y0_ y1_", f"{_U}{{50,200}}", "yandex.com/dev/id/doc"),
    ("yandex_iam_token", "t1. c1.", rf"{_U}{{20,400}}={{0,2}}\.{_U}{{86}}={{0,2}}", "gitlab.com/gitlab-org/gitlab/-/issues/353039"),
    ("yandex_cloud_key", "AQVN YCAJE YCM", f"{_U}{{20,40}}(?!{_U})", "yandex.cloud/docs/iam/concepts/authorization/api-key"),
    ("tencent_key_id", "AKID", f"{_W}{{32}}(?!{_W})", "www.tencentcloud.com/document/product/598"),
    ("deno_token", "ddp_ ddw_", f"{_W}{{36}}(?!{_W})", "docs.deno.com/deploy/api"),
    ("cargo_token", "cio cio_tp_", f"{_W}{{32}}(?!{_W})", "github.com/rust-lang/crates.io"),
    ("trello_token", "ATTA", f"{_H}{{64}}[0-9A-F]{{8}}", "developer.atlassian.com/cloud/trello/guides/rest-api/authorization"),
    ("instagram_token", "IGQV IGAA", f"{_U}{{60,300}}", "developers.facebook.com/docs/instagram-platform"),
    ("pagarme_key", "ak_live_ ak_test_", f"{_W}{{30}}(?!{_W})", "docs.pagar.me/v2/docs/api-key-e-encryption-key"),
    ("maxmind_key", "_mmk", f"(?!{_W})", "dev.maxmind.com/geoip/release-notes/2023-03-16-changes-to-maxmind-license-keys"),
    ("nightfall_key", "NF-", f"{_W}{{32}}(?!{_W})", "docs.nightfall.ai"),
    ("fullstory_key", "na1. eu1.", "[0-9A-Za-z+/]{60,140}={0,2}", "developer.fullstory.com/server/authentication"),
    ("mongodb_atlas_secret", "mdb_sa_sk_", f"(?:[a-z]{{2}}_)?{_U}{{36,48}}", "docs.aws.amazon.com/secretsmanager/latest/userguide/mes-partner-MongoDBAtlasServiceAccount.html"),
    ("square_token", "EAAA", f"{_U}{{60}}(?!{_U})", "developer.squareup.com/docs/build-basics/access-tokens"),
    ("vercel_token", "vcp_ vci_ vca_ vcr_ vck_", f"{_W}{{24,64}}(?!{_W})", "vercel.com/changelog/new-token-formats-and-secret-scanning"),
    ("zuplo_key", "zpka_", f"{_W}{{24,48}}_{_W}{{6,12}}(?!{_W})", "zuplo.com/docs/articles/api-key-best-practices"),
    ("polar_token", "polar_oat_ polar_pat_", f"{_U}{{30,64}}", "polar.sh/docs/integrate/oat"),
    ("honeycomb_key", "mk_", f"{_W}{{26}}:{_W}{{32}}(?!{_W})", "docs.honeycomb.io/api/authentication"),
    ("honeycomb_key", "ik_ ic_", f"{_W}{{58}}(?!{_W})", "docs.honeycomb.io/api/authentication"),
    ("aiven_password", "AVNS_", f"{_U}{{19,24}}(?!{_U})", "aiven.io/docs"),
    ("firecrawl_key", "fc-", f"{_H}{{32}}(?!{_W})", "docs.firecrawl.dev/authentication"),
    ("firecrawl_key", "fco_ fcr_", f"{_U}{{24,200}}", "docs.firecrawl.dev/authentication"),
    ("e2b_key", "e2b_", f"{_H}{{40}}(?!{_W})", "e2b.dev/docs/api-key"),
    ("cockroach_key", "CCDB1_", f"{_W}{{22}}_{_W}{{40}}(?!{_W})", "github.com/cockroachdb/terraform-provider-cockroach"),
    ("clickhouse_key", "4b1d", f"(?=[0-9A-Za-z]{{0,37}}[G-Zg-z]){_W}{{38}}(?!{_W})", "clickhouse.com/docs/cloud/manage/openapi"),
    ("rootly_key", "rootly_", f"{_H}{{64}}(?!{_W})", "docs.rootly.com/api-reference"),
    ("wechat_webhook", "qyapi.weixin.qq.com/cgi-bin/webhook/send?key=", f"{_U}{{30,40}}", "developer.work.weixin.qq.com"),
    ("azure_identifiable_key", "AzFu", f"{_U}{{5}}[AQgw]==", "github.com/microsoft/security-utilities"),
    ("azure_identifiable_key", "AzSe", f"[A-D]{_W}{{5}}(?![0-9A-Za-z+/=_-])", "github.com/microsoft/security-utilities"),
    ("azure_identifiable_key", "+ACR", f"[A-D]{_B}{{5}}(?![0-9A-Za-z+/=_-])", "github.com/microsoft/security-utilities"),
    ("azure_identifiable_key", "+ARm +AEh +ASb AIoT AzCa AZEG", f"[A-P]{_B}{{5}}=(?![0-9A-Za-z+/=_-])", "github.com/microsoft/security-utilities"),
    ("azure_identifiable_key", "+ASt ACDb +ABa +AMC APIM", f"{_B}{{5}}[AQgw]==", "github.com/microsoft/security-utilities"),
    ("axiom_token", "xaat- xapt-", _UUID, "github.com/axiomhq/axiom-go"),
    ("browserbase_key", "bb_live_ bb_test_", f"{_W}{{20,128}}(?!{_U})", "docs.browserbase.com"),
    ("confluent_secret", "cflt", f"{_B}{{60}}(?![0-9A-Za-z+/=])", "docs.confluent.io/cloud/current/security/authenticate"),
    ("datadog_key", "ddapp_", f"{_W}{{30,48}}(?!{_W})", "docs.datadoghq.com/account_management/api-app-keys"),
    ("datastax_token", "AstraCS:", f"{_W}{{24}}:{_W}{{64}}", "github.com/datastax/astra-cli"),
    ("daytona_key", "dtn_", f"{_H}{{64}}(?!{_W})", "github.com/daytonaio/daytona"),
    ("dbt_token", "dbtc_ dbtu_", f"{_N}{_U}{{20,100}}", "github.com/dbt-labs/dbt"),
    ("devcycle_key", "dvc_server_", f"{_N}{_U}{{16,80}}", "github.com/DevCycleHQ/js-sdks"),
    ("elastic_key", "essu_", "[0-9A-Za-z+/=_-]{40,300}", "github.com/elastic/kibana"),
    ("harness_token", "pat. sat.", rf"{_U}{{22}}\.{_W}{{24}}\.{_W}{{20}}(?!{_W})", "github.com/harness/cli"),
    ("helicone_key", "sk-helicone- pk-helicone-", "[0-9a-z-]{20,80}", "github.com/Helicone/helicone"),
    ("inngest_key", "signkey-prod- signkey-test- signkey-branch-", f"{_H}{{32,128}}", "www.inngest.com/docs/platform/signing-keys"),
    ("jina_key", "jina_", f"{_W}{{60}}(?!{_W})", "github.com/jina-ai/MCP"),
    ("kaggle_token", "KGAT_", f"{_H}{{24,64}}(?!{_W})", "github.com/Kaggle/kaggle-skills"),
    ("llamacloud_key", "llx-", f"{_W}{{40,64}}(?!{_U})", "github.com/run-llama/llama_cloud_services"),
    ("logfire_token", "pylf_v1_ pylf_v2_", "[a-z]{2,16}_[0-9A-Za-z_-]{20,100}", "github.com/pydantic/logfire"),
    ("mixedbread_key", "mxb_", f"{_N}{_W}{{20,64}}(?!{_U})", "github.com/mixedbread-ai/openbread"),
    ("neon_key", "napi_", f"{_W}{{64}}(?!{_W})", "neon.com/docs/manage/api-keys"),
    ("netbird_token", "nbp_", f"{_W}{{36}}(?!{_W})", "github.com/netbirdio/netbird"),
    ("octopus_key", "API-", "(?=[A-Z]{0,33}[0-9])[0-9A-Z]{25,34}(?![0-9A-Za-z_-])", "github.com/OctopusDeploy/OctopusTentacle"),
    ("onesignal_key", "os_v2_app_ os_v2_org_", "[0-9a-z]{20,200}", "github.com/OneSignal/onesignal-agent-plugin"),
    ("ory_token", "ory_st_ ory_at_ ory_rt_ ory_ac_ ory_pat_ ory_apikey_ ory_wak_", rf"{_N}{_U}{{20,200}}(?:\.{_U}{{20,200}})?", "www.ory.com/docs/security-compliance/token-formats"),
    ("paddle_key", "pdl_live_apikey_ pdl_sdbx_apikey_ pdl_test_apikey_", f"[0-9a-z]{{26}}_{_W}{{22}}_{_W}{{3}}(?!{_W})", "developer.paddle.com/api-reference/about/api-keys"),
    ("postman_key", "PMAT-", "[0-9A-Z]{26}(?![0-9A-Za-z])", "learning.postman.com/docs/developer/postman-api/authentication"),
    ("runpod_key", "rpa_", f"{_W}{{31,128}}(?!{_W})", "docs.runpod.io/get-started/api-keys"),
    ("stytch_secret", "secret-live- secret-test-", f"{_N}[0-9A-Za-z_=-]{{36}}(?![0-9A-Za-z_=-])", "github.com/stytchauth/stytch-node"),
    ("together_key", "tgp_v1_", f"{_U}{{40,64}}(?!{_U})", "docs.together.ai/docs/api-keys-authentication"),
    ("trigger_dev_key", "tr_dev_ tr_stg_ tr_prod_ tr_preview_", f"(?:sk_)?(?:{_W}{{24}}|{_W}{{20}})(?!{_U})", "github.com/triggerdotdev/trigger.dev"),
    ("trigger_dev_key", "tr_pat_", f"[1-9a-km-z]{{40}}(?!{_U})", "github.com/triggerdotdev/trigger.dev"),
    ("unkey_key", "unkey_", f"{_N}{_W}{{21,64}}(?!{_U})", "github.com/unkeyed/unkey"),
    ("wandb_key", "wandb_v1_", f"{_U}{{60,100}}", "docs.wandb.ai"),
    ("xata_key", "xau_ xao_", f"{_W}{{32,36}}(?!{_W})", "github.com/xataio/xata"),
)  # fmt: skip
# What stands before the prefix belongs to some tokens.
_HEADS: Final = {
    "Q~": lazily(r"[0-9A-Za-z_~.-]{3}[0-9]\Z|[0-9A-Za-z_~.]{3}[0-9]\Z"),
    ".atlasv1.": lazily(r"[0-9A-Za-z]{14}\Z"),
    ".tines.com/webhook/": lazily(r"[0-9a-z-]{1,14}\Z"),
    ".webhook.office.com/webhookb2/": lazily(r"[0-9A-Za-z-]{1,63}\Z"),
    **dict.fromkeys(
        ("ik_", "ic_", "mk_"), lazily(r"(?:(?<![0-9A-Za-z])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))hc[a-z]\Z")
    ),
    "_mmk": lazily(
        r"(?:(?<![0-9A-Za-z_])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))[0-9A-Za-z]{6}_[0-9A-Za-z]{29}\Z"
    ),
    "AZDO": lazily(r"(?:(?<![0-9A-Za-z])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))[0-9A-Za-z]{76}\Z"),
    **dict.fromkeys(
        ("JQQJ99", "JQQJ9D", "JQQJ9H"),
        lazily(r"(?:(?<![0-9A-Za-z])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))[0-9A-Za-z]{52}\Z"),
    ),
    **{
        signature: lazily(rf"(?:(?<![0-9A-Za-z+/_-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{{2}})){before}\Z")
        for signatures, before in (
            ("AzFu", "[0-9A-Za-z_-]{44}"),
            ("AzSe", "[0-9A-Za-z]{42}"),
            ("+ACR", "[0-9A-Za-z+/]{42}"),
            ("+ARm +AEh +ASb AIoT AzCa AZEG", "[0-9A-Za-z+/]{33}"),
            ("+ASt ACDb +ABa +AMC APIM", "[0-9A-Za-z+/]{76}"),
        )
        for signature in signatures.split()
    },
}
_HEAD: Final = 80
_Format = tuple[str, str, str, re.Pattern[str] | None]
_BY_PREFIX: Final[tuple[_Format, ...]] = tuple(
    (prefix, rule, body, _HEADS.get(prefix))  # compiled when it is needed, by the cache of ``re``
    for rule, prefixes, body, _source in FORMATS
    for prefix in prefixes.split()
)
# How much has to follow a prefix that other things start with, too.
_NEEDS: Final = {
    prefix: int(need)
    for need, _, prefix in (
        entry.partition(":")
        for entry in listed(
            "32:sk- 32:key- 36:api- 36:sdk- 36:mob- 55:pat 43:secret_ 40:pul- 130:sl. 48:sk_ 38:pk_ 33:re_ 65:1000."
            " 4:AZDO 0:_mmk 30:ak_live_ 30:ak_test_ 32:NF- 60:na1. 60:eu1. 32:cio 12:00D 22:fw_"
            " 60:EAAA 58:ik_ 58:ic_ 26:mk_ 32:fc- 24:fco_ 24:fcr_ 40:e2b_ 38:4b1d 24:vcp_ 24:vci_ 24:vca_ 24:vcr_ 24:vck_"
            " 6:AzFu 6:AzSe 6:+ACR 6:+ARm 6:+AEh 6:+ASb 6:AIoT 6:AzCa 6:AZEG 6:+ASt 6:ACDb 6:+ABa 6:+AMC 6:APIM"
            " 60:cflt 25:API- 22:pat. 22:sat. 36:secret-live- 36:secret-test- 20:tr_dev_ 20:tr_prod_ 20:tr_stg_ 20:tr_preview_"
            " 21:unkey_ 32:xau_ 32:xao_ 40:llx- 36:nbp_ 64:napi_ 31:rpa_ 64:dtn_ 20:mxb_ 20:dbtc_ 20:dbtu_ 60:jina_ 40:AQ.Ab 20:bb_live_ 20:bb_test_ 20:apify_api_"
        )
    )
}
_NEED: Final = 8


def _needle(entry: _Format) -> anchors.Needle:
    prefix = entry[0]
    checks = anchors.CASE | anchors.TOKEN
    if not entry[3] and "/" not in prefix and prefix[0].isalnum():
        checks |= anchors.START
    return anchors.Needle(prefix, checks, _NEEDS.get(prefix, _NEED))


PREFIX_NEEDLES: Final = tuple(map(_needle, _BY_PREFIX))
_PLACEHOLDER: Final = lazily(r"(.)\1{7}|x{6}|X{6}|\*{4}|\.{4}|<|your|example_?token", re.IGNORECASE)


def prefixed(text: str, _key: str, places: Sequence[tuple[int, int]]) -> list[Candidate]:
    """Return the tokens in *text* with a published prefix; *places* are offsets and numbers of prefixes."""
    found: list[Candidate] = []
    free: dict[str, int] = {}
    for at, number in places:
        meter.step(len(found))
        prefix, rule, body, head = _BY_PREFIX[number]
        if at < free.get(rule, 0):
            continue
        match = re.compile(body).match(text, at + len(prefix))
        start = _start(text, at, head) if match else -1
        if match and start >= 0:
            free[rule] = match.end()
            if not _PLACEHOLDER.search(match[0]):
                token = text[start : match.end()].rstrip(".")
                found.append(Candidate("secret", start, start + len(token), 0.95, token, rule))
    return found


def _start(text: str, at: int, head: re.Pattern[str] | None) -> int:
    """Return where the token starts whose prefix stands at *at*, -1 if it is the inside of a word."""
    if head:
        match = head.search(text, max(0, at - _HEAD), at)
        return match.start() if match else -1
    before = text[max(0, at - 2) : at]
    if not before or not (is_word(before[-1]) or before[-1] == "_"):
        return at
    escaped = before in ("\\n", "\\r", "\\t") or (at >= 3 and text[at - 3] == "%")
    return at if escaped or before[-1] == "_" else -1


# --- formats without a prefix whose parts are telling enough

_TELEGRAM: Final = lazily(r":(?<=[0-9]{8}:)AA[0-9A-Za-z_-]{32,34}(?![0-9A-Za-z_-])")
_TELEGRAM_HEAD: Final = lazily(r"[0-9]{8,10}\Z")
_DISCORD: Final = lazily(
    r"[MNO](?<![0-9A-Za-z_.-].)[0-9A-Za-z]{23,27}\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{27,38}(?![0-9A-Za-z_-])"
)
_MAILCHIMP: Final = lazily(r"(?<![0-9A-Za-z])[0-9a-f]{32}-us[0-9]{1,2}(?![0-9A-Za-z])")
_TWILIO: Final = lazily(r"(?<![0-9A-Za-z])SK[0-9a-f]{32}(?![0-9A-Za-z])")
# crypt(5): a hash of a password is as good as the password to somebody with time.
_CRYPT: Final = lazily(
    r"\$(?:2[abxy]\$[0-9]{2}\$[0-9A-Za-z./]{53}|(?:[15689y]|apr1|sha1)\$(?:rounds=[0-9]{1,9}\$)?[^\s$:'\"]{1,64}\$[0-9A-Za-z./]{22,128}"
    r"|argon2(?:id|i|d)\$[^\s'\"]{40,200}|krb5(?:asrep|tgs|pa)\$[^\s'\"]{32,4096}|pbkdf2-sha[0-9]{1,3}\$[^\s'\"]{32,200}|scrypt\$[^\s'\"]{32,200})"
)
# RFC 2307, section 5.3
_LDAP: Final = lazily(r"\{S?SHA[0-9]{0,3}\}[0-9A-Za-z+/]{24,100}={0,2}")
_FACEBOOK: Final = lazily(r"\|(?<=[0-9]{13}.)[0-9A-Za-z_-]{26,27}(?![0-9A-Za-z_-])")
_FACEBOOK_HEAD: Final = lazily(r"(?<![0-9A-Za-z])[0-9]{13,17}\Z")
_NEWRELIC: Final = lazily(r"(?<![0-9A-Za-z])[0-9a-z]{36}NRAL(?![0-9A-Za-z])")


_CRYPT_PREFIXES: Final = (
    *("$2a$", "$2b$", "$2x$", "$2y$", "$1$", "$5$", "$6$", "$8$", "$9$", "$y$", "$apr1$", "$sha1$"),
    *("$argon2", "$krb5", "$pbkdf2-sha", "$scrypt$"),
)
# What each of them is found by, and how far before its start that may stand.
_SHAPES: Final = (
    (":AA", 0, _TELEGRAM, "telegram_token", 30),
    ("-us", 32, _MAILCHIMP, "mailchimp_key", 0),
    ("SK", 0, _TWILIO, "twilio_key", 32),
    ("NRAL", 36, _NEWRELIC, "newrelic_key", 0),
    *((needle, 0, _CRYPT, "password_hash", 0) for needle in _CRYPT_PREFIXES),
)
SHAPE_NEEDLES: Final = tuple(
    anchors.Needle(needle, anchors.CASE | (anchors.TOKEN if need else 0), need)
    for needle, _, _, _, need in _SHAPES
)


def shaped(text: str, _key: str, places: Sequence[tuple[int, int]]) -> list[Candidate]:
    """Return what has no prefix but telling parts: Telegram, Mailchimp, Twilio, New Relic, crypt(5)."""
    found: list[Candidate] = []
    for at, number in places:
        meter.step(len(found))
        _, before, pattern, rule, _ = _SHAPES[number]
        match = pattern.match(text, at - before) if at >= before else None
        if match and pattern in (_TELEGRAM, _FACEBOOK):
            behind = _TELEGRAM_HEAD if pattern is _TELEGRAM else _FACEBOOK_HEAD
            if head := behind.search(text, max(0, at - 18), at):
                found.append(_shaped_token(text, head.start(), match.end(), rule))
        elif match:
            found.append(_shaped_token(text, *match.span(), rule))
    return found


def discord_tokens(text: str, _key: str, starts: Sequence[int]) -> list[Candidate]:
    """Return the tokens of Discord's bots in *text* at *starts*."""
    return [
        _shaped_token(text, *match.span(), "discord_token")
        for at in meter.steps(starts)
        if (match := _DISCORD.match(text, at))
    ]


def _shaped_token(text: str, start: int, end: int, rule: str) -> Candidate:
    return Candidate("secret", start, end, 0.9, text[start:end], rule)
