"""Passwords whose place a command, a line of a password file, an array of words or a table of HTML says."""

from __future__ import annotations

import pytest

from mpp_exec.privacy.redact import redact

PASSWORD = "kettle91x"


@pytest.mark.parametrize(
    "text",
    [
        "sqlplus scott/{}@//db.example:1521/orcl",
        "$ sqlplus -S -L scott/{}",
        "sqlldr userid=scott/{}@orcl control=a.ctl",
        "expdp system/{} schemas=hr",
        "url=jdbc:oracle:thin:scott/{}@db:1521:orcl",
        "ldapsearch -x -D cn=admin,dc=example,dc=org -w {} -b dc=example,dc=org",
        "ldapmodify -H ldaps://ldap \\\n  -D 'cn=admin' \\\n  -w '{}' -f a.ldif",
        "lftp -u deploy,{} sftp://files.example",
        "zip -r -P {} backup.zip notes/",
        "unzip -P {} backup.zip",
        "$p = ConvertTo-SecureString '{}' -AsPlainText -Force",
        'ConvertTo-SecureString -String "{}" -AsPlainText -Force',
        "ConvertTo-SecureString -AsPlainText -Force '{}'",
        "ConvertTo-SecureString {} -AsPlainText -Force",
        "redis-cli -h cache -a {} ping",
        "redis-cli --pass {} info",
        r"net use Z: \\files\share {} /user:CORP\jane",
        "snmp-server community {} RO",
        "snmpwalk -v2c -c {} switch.example",
        "db.example:5432:app:svc:{}",
        "# .pgpass\n*:*:*:postgres:{}\n",
        "echo 'localhost:6432:app:svc:{}' >> ~/.pgpass",
    ],
)
def test_a_command_and_a_password_file_say_where_the_password_is(text: str) -> None:
    assert redact(text.format(PASSWORD)).value == text.format("[SECRET]")


def test_a_password_of_pgpass_has_its_escapes() -> None:
    assert redact(r"db:5432:app:svc:ke\:tt\\le91").value == "db:5432:app:svc:[SECRET]"


@pytest.mark.parametrize(
    "text",
    [
        "ldapsearch [-n] [-c] [-u] [-v] [-w passwd] [-y passwdfile] [-W]",
        "ldapsearch -x -D cn=admin -W -b dc=example,dc=org",
        "ldapsearch -w $LDAP_PASSWORD -b dc=example",
        "redis-cli -h cache -a $REDIS_PASSWORD ping",
        r"net use Z: \\files\share /persistent:yes",
        r"net use Z: \\files\share * /user:jane",
        "snmp-server community public RO",
        "snmpget -v2c -c public switch.example",
        "zip -P password archive.zip file",
        "zip -P $PASS archive.zip file",
        "zip -r archive.zip src; rsync -P archive.zip host.example:/srv/data1",
        "the ZIP code, and ssh -P 2222x",
        "lftp -u user,password ftp.example",
        "lftp -u deploy ftp.example",
        "sqlplus /nolog @run1.sql",
        "sqlplus / as sysdba",
        "sqlplus scott@orcl",
        "sqlplus username/password@host",
        "jdbc:oracle:thin:@//db.example:1521/orcl",
        "ConvertTo-SecureString $text -AsPlainText -Force",
        "ConvertTo-SecureString (Get-Content pw1.txt) -AsPlainText",
        "Get-Content pw1.txt | ConvertTo-SecureString",
        "0.0.0.0:5432:5432/tcp",
        "daemon:*:18474:0:99999:7:::",
        "nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false",
        "arn:aws:logs:*:123456789012:log-group:app1",
        "cpe:2.3:a:example:product:1.0:*:*:*:*:*:*:*",
        "src/parse.c:5432:10: error: expected ';' before 'x1'",
        "src/parse.c:5432:  a:b:c:d1234",
    ],
)
def test_manuals_variables_and_what_only_looks_like_it_stay(text: str) -> None:
    assert redact(text).value == text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (["mysql", "--password", PASSWORD], ["mysql", "--password", "[SECRET]"]),
        (["x", "--db-password", PASSWORD, "y"], ["x", "--db-password", "[SECRET]", "y"]),
        ({"args": ["run", "-password", PASSWORD]}, {"args": ["run", "-password", "[SECRET]"]}),
        (["x", "--api-key", "q7Rk2Zp9Lw4Xv8Tn3Bc6"], ["x", "--api-key", "[SECRET]"]),
    ],
)
def test_an_option_in_an_array_names_the_word_behind_it(value: object, written: object) -> None:
    assert redact(value).value == written


@pytest.mark.parametrize(
    "value",
    [
        ["docker", "login", "--password-stdin", "registry1.example"],
        ["x", "--password", "--verbose2"],
        ["x", "--password", "$DB_PASSWORD"],
        ["x", "--password-file", "notes91x"],
        ["x", "--no-password", "kettle91x"],
        ["x", "--token", "string"],
        ["x", "--author", "kettle91x"],
        ["--password", 17],
    ],
)
def test_an_option_without_a_secret_behind_it_changes_nothing(value: object) -> None:
    assert redact(value).value == value


@pytest.mark.parametrize(
    "html",
    [
        "<table><tr><th>User</th><th>Password</th></tr><tr><td>svc</td><td>{}</td></tr></table>",
        "<table>\n<tr>\n <th>Host\n <th class='x'><b>Password</b>\n<tbody>\n<tr>\n <td>db1\n <td>{}</table>",
        "<table><tr><td>Password:</td><td><code>{}</code></td></tr></table>",
        "<tr><th scope=row>DB password</th><td> {} </td></tr>",
        (
            "<table><tr><td>Host</td><td>Password</td><td>Port</td></tr>"
            "<tr><td>a</td><td>{}</td><td>1</td></tr></table>"
        ),
    ],
)
def test_a_cell_of_a_table_of_html_is_announced_by_its_header_or_its_label(html: str) -> None:
    for_header = redact(html.format(PASSWORD)).value
    assert PASSWORD not in for_header
    assert "[SECRET]" in for_header


@pytest.mark.parametrize(
    "html",
    [
        (
            "<table><tr><th>Option</th><th>Meaning</th></tr>"
            "<tr><td>password</td><td>The password to use</td></tr></table>"
        ),
        "<table><tr><th>Field</th><th>Type</th></tr><tr><td>password</td><td>string</td></tr></table>",
        "<table><tr><td>token</td><td>required</td></tr></table>",
        (
            "<table><tr><th>Password</th><th>Strength</th></tr></table>"
            "<table><tr><td>kettle91x</td><td>weak</td></tr></table>"
        ),
        "<video><track src='a'></video> read <tried.h> and <tr",
        "<tr></tr><tr><tr>",
        "<tr><td>Address</td><td>The place that it is at</td></tr>",
    ],
)
def test_a_table_that_explains_stays(html: str) -> None:
    assert redact(html).value == html
