// A real OpenID provider on the loopback, as the tests want it: people are in a file that a test rewrites, its login page asks
// for a name alone, and nothing leaves the machine. Told everything as JSON on the command line; says "ready" when it listens.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const told = JSON.parse(process.argv[2]);
const people = () => JSON.parse(readFileSync(told.people, "utf8"));

const provider = new Provider(told.issuer, {
  clients: told.clients,
  jwks: told.jwks,
  cookies: { keys: ["of the tests alone"] },
  conformIdTokenClaims: told.conform ?? true,
  scopes: ["openid", "offline_access", "profile"],
  claims: {
    openid: ["sub", "sid", "amr"],
    profile: ["preferred_username", "name", "email", "groups", "org_code"],
  },
  async findAccount(_context, id) {
    return { accountId: id, claims: async () => ({ ...people()[id], sub: id }) };
  },
  // Nobody is asked whether the house may know who they are: the provider's owner said so.
  async loadExistingGrant(context) {
    const grant = new context.oidc.provider.Grant({
      clientId: context.oidc.client.clientId,
      accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      async logoutSource(context, form) {
        context.body = `<!doctype html><title>Leave</title>${form}<button name="logout" value="yes" form="op.logoutForm">Leave</button>`;
      },
      async postLogoutSuccessSource(context) {
        context.body = "<!doctype html><title>Left</title>";
      },
    },
  },
  interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
  ttl: { Interaction: 600, Session: 3600, Grant: 3600, AccessToken: 600, IdToken: 600, AuthorizationCode: 60 },
  async fetch(url, options) {
    // Its own dispatcher refuses addresses of the loopback, its signal gives up after 2.5 seconds.
    return globalThis.fetch(url, { ...options, dispatcher: undefined, signal: undefined });
  },
});

async function interact(request, response) {
  if (request.method === "POST") {
    let body = "";
    for await (const piece of request) body += piece;
    const login = new URLSearchParams(body).get("who");
    await provider.interactionFinished(request, response, people()[login] ? { login: { accountId: login, amr: people()[login].amr } } : { error: "access_denied" });
    return;
  }
  await provider.interactionDetails(request, response);
  response.setHeader("Content-Type", "text/html");
  response.end('<!doctype html><title>Who are you</title><form method="post"><input id="who" name="who" autofocus><button>In</button></form>');
}

const handle = provider.callback();
createServer((request, response) => {
  const done = request.url.startsWith("/interaction/") ? interact(request, response) : handle(request, response);
  Promise.resolve(done).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
}).listen(new URL(told.issuer).port, "127.0.0.1", () => console.log("ready"));
