// Runs oidc-provider for one Go test. The first line of standard input is the configuration (JSON, see the type script in
// ../oidc.go); the process ends when standard input ends, so it cannot outlive the test. Standard output gets one line "ready PORT".
// Each answered request adds one JSON line to the journal file before the answer leaves.
import { createHash, generateKeyPairSync, createPublicKey, randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

const input = createInterface({ input: process.stdin });
input.on('close', () => process.exit(0));
const config = JSON.parse(await new Promise((resolve) => { input.once('line', resolve); }));

const server = createServer({
  cert: config.certificate,
  key: config.key,
  ca: config.ca,
  requestCert: true,
  rejectUnauthorized: false, // a browser has no certificate; clients are held to theirs at the token endpoint
  minVersion: 'TLSv1.2',
});
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(0, '127.0.0.1', resolve);
});
const { port } = server.address();
const issuer = `https://127.0.0.1:${port}`;
// By which applications have a redirect path for each issuer (RFC 9700 section 4.4.2).
const issuerHash = createHash('sha256').update(issuer).digest('hex').slice(0, 20);

// Who has signed in: the account's ID says nothing about the subscriptions that it may read.
const accounts = new Map();

// One subscription ID is a string, several are an array.
function subscriptionClaim(accountId) {
  const ids = accounts.get(accountId) ?? [];
  return { [config.claim]: ids.length === 1 ? ids[0] : ids };
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: randomUUID() };
}

function clientMetadata({ id, secret, method, certificate }) {
  const metadata = {
    client_id: id,
    client_secret: secret || undefined,
    token_endpoint_auth_method: method,
    application_type: 'native', // a loopback redirect URI then fits with any port (RFC 8252 section 7.3)
    redirect_uris: config.redirectURIs.map((uri) => uri.replace('{issuer}', issuerHash)),
    response_types: ['code'],
    grant_types: [
      'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code',
      ...(method === 'none' ? [] : ['client_credentials']),
    ],
    id_token_signed_response_alg: 'ES256',
  };
  if (certificate) {
    const parsed = new X509Certificate(certificate);
    const jwk = createPublicKey(certificate).export({ format: 'jwk' });
    metadata.jwks = { keys: [{ ...jwk, use: 'sig', alg: 'ES256', x5c: [parsed.raw.toString('base64')] }] };
    if (method === 'tls_client_auth') {
      metadata.tls_client_auth_subject_dn = parsed.subject;
    }
    if (method.endsWith('tls_client_auth')) {
      metadata.tls_client_certificate_bound_access_tokens = true;
    }
    if (method === 'self_signed_tls_client_auth' || method === 'tls_client_auth') {
      delete metadata.client_secret;
    }
  }
  if (method === 'tls_client_auth') {
    delete metadata.jwks;
  }
  return metadata;
}

const provider = new Provider(issuer, {
  clients: config.clients.map(clientMetadata),
  clientAuthMethods: [
    'none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth',
  ],
  jwks: { keys: [signingKey()] },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  clockTolerance: 0,
  pkce: { required: () => !config.acceptWithoutPKCE },
  rotateRefreshToken: !config.noRotation,
  claims: { openid: ['sub', ...(config.claimInIDToken ? [config.claim] : [])] },
  conformIdTokenClaims: false,
  extraTokenClaims: (ctx, token) => {
    if (token.accountId) return subscriptionClaim(token.accountId);
    return { [config.claim]: config.applicationSubscription }; // the application's own token
  },
  findAccount: (ctx, accountId) => ({
    accountId,
    claims: () => ({ sub: accountId, ...subscriptionClaim(accountId) }),
  }),
  ttl: {
    AccessToken: config.accessTokenSeconds,
    AuthorizationCode: 60,
    DeviceCode: 600,
    Grant: 14 * 24 * 3600,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: config.refreshTokenSeconds,
    Session: 3600,
  },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: {
      enabled: true,
      userCodeInputSource: (ctx, form) => page(ctx, form),
      userCodeConfirmSource: (ctx, form) => page(ctx, form),
      successSource: (ctx) => page(ctx, 'The device is signed in.'),
    },
    revocation: { enabled: true },
    introspection: { enabled: true },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => config.proofNonce },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: config.pushedRequests },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_subject_dn'
        && ctx.socket.getPeerX509Certificate().subject === expected,
    },
    // oidc-provider makes JWT access tokens for a resource server only, so every token is for one.
    resourceIndicators: {
      enabled: !config.opaque,
      defaultResource: () => config.resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: '',
        audience: resource,
        accessTokenFormat: resource === config.opaqueResource ? 'opaque' : 'jwt',
        accessTokenTTL: config.accessTokenSeconds,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  renderError: (ctx, out) => {
    ctx.type = 'text/plain';
    ctx.body = `${out.error}: ${out.error_description ?? ''}`;
  },
});
provider.on('server_error', (ctx, error) => console.error(error));

function page(ctx, content) {
  ctx.type = 'html';
  ctx.body = `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>realtest</title>${content}</html>`;
}

async function formOf(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 65536) throw new Error('form too large');
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}

// The pages a person sees: who are you, and may this application read your data.
async function interact(ctx) {
  const { uid, prompt, params, session, grantId } = await provider.interactionDetails(ctx.req, ctx.res);
  if (ctx.method === 'GET') {
    const login = prompt.name === 'login' ? '<input name="login">' : '';
    page(ctx, `<form method="post" action="/interaction/${uid}">${login}<button name="submit" value="yes">${prompt.name}</button></form>`);
    return;
  }
  const form = await formOf(ctx.req);
  let result;
  if (form.has('abort')) {
    result = { error: 'access_denied', error_description: 'the person said no' };
  } else if (prompt.name === 'login') {
    const accountId = `person-${randomUUID()}`;
    accounts.set(accountId, form.get('login').split(' ').filter(Boolean));
    result = { login: { accountId } };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
    if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
    for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
      grant.addResourceScope(resource, scopes.join(' '));
    }
    result = { consent: { grantId: await grant.save() } };
  }
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: !result.error }));
}

// What passes through an answer or a request and must never show up in a log.
function secretsOf(ctx) {
  const found = new Set();
  const take = (object, names) => names.forEach((name) => {
    if (typeof object?.[name] === 'string') found.add(object[name]);
  });
  take(ctx.body, ['access_token', 'refresh_token', 'id_token', 'device_code', 'user_code']);
  take(ctx.oidc?.params, ['code', 'code_verifier', 'refresh_token', 'token', 'client_secret', 'client_assertion', 'device_code']);
  const location = URL.canParse(ctx.response.get('location')) ? new URL(ctx.response.get('location')) : undefined;
  const code = location?.searchParams.get('code');
  if (code) found.add(code);
  return [...found];
}

provider.use(async (ctx, next) => {
  if (ctx.path.startsWith('/interaction/')) {
    await interact(ctx);
    return;
  }
  await next();
  appendFileSync(config.journal, `${JSON.stringify({
    route: ctx.oidc?.route ?? '',
    client: ctx.oidc?.client?.clientId ?? '',
    grant: ctx.oidc?.params?.grant_type ?? '',
    status: ctx.status,
    error: ctx.body?.error ?? '',
    secrets: ctx.oidc ? secretsOf(ctx) : [],
  })}\n`);
});

server.on('request', provider.callback());
console.log(`ready ${port}`);
