// The official MCP clients in TypeScript, version 1 and 2: one JSON object in, one out, as mcp_client.py.
import { text } from "node:stream/consumers";

const request = JSON.parse(await text(process.stdin));
const about = { name: "typescript", version: "1" };
const asks = request.answer !== null;
const capabilities = asks ? { elicitation: {} } : {};
const server = { command: request.command, args: request.args, env: request.env, stderr: "inherit" };
const questions = [];

async function answer(asked) {
  questions.push(asked.params.message);
  return { action: "accept", content: { confirm: request.answer } };
}

async function version1() {
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  const transport = new StdioClientTransport(server);
  const client = new Client(about, { capabilities });
  if (asks) client.setRequestHandler(ElicitRequestSchema, answer);
  let version;
  transport.setProtocolVersion = (agreed) => (version = agreed);
  await client.connect(transport);
  return [client, version];
}

async function version2(mode) {
  const { Client } = await import("@modelcontextprotocol/client");
  const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
  const client = new Client(about, { capabilities, versionNegotiation: { mode } });
  if (asks) client.setRequestHandler("elicitation/create", answer);
  await client.connect(new StdioClientTransport(server));
  return [client, client.getNegotiatedProtocolVersion()];
}

async function call(client, [name, given]) {
  try {
    const result = await client.callTool({ name, arguments: given });
    return {
      isError: result.isError ?? false,
      structured: result.structuredContent ?? null,
      text: result.content.filter((block) => block.type === "text").map((block) => block.text),
    };
  } catch (error) {
    return { code: error.code ?? String(error) };
  }
}

const [client, version] = request.mode === "v1" ? await version1() : await version2(request.mode);
const { tools } = await client.listTools();
const calls = await Promise.all(request.calls.map((each) => call(client, each)));
await client.close();
process.stdout.write(JSON.stringify({ version, tools, calls, questions }));
