// An OpenID provider on loopback for tests: its clients and lifetimes come as JSON on the command line.
// Whoever signs in types any login; "no-mail…" has no mail, "staff…" is in the group staff.
import Provider from 'oidc-provider';

const { port, clients, ttl = {}, conformIdTokenClaims = true } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients,
  ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 3600, IdToken: 600, Interaction: 600, RefreshToken: 3600, Session: 3600, ...ttl },
  cookies: { keys: ['of-a-test'] },
  claims: { openid: ['sub', 'sid'], email: ['email', 'email_verified'], groups: ['groups'], profile: ['name'] },
  scopes: ['openid', 'offline_access', 'email', 'groups', 'profile'],
  conformIdTokenClaims,
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    revocation: { enabled: true },
  },
  // Most providers give a refresh token for the scope alone; this one would ask for consent each time.
  issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  // Back-channel notices go to loopback here, which the library's own dispatcher refuses for good reasons.
  fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
  findAccount: async (_ctx, id) => ({
    accountId: id,
    claims: async () => ({
      sub: id,
      ...(id.startsWith('no-mail') ? {} : { email: `${id}@example.com`, email_verified: true }),
      groups: id.startsWith('staff') ? ['staff', 'everyone'] : ['everyone'],
    }),
  }),
});
provider.on('server_error', (_ctx, error) => console.error('server_error', error));
provider.on('backchannel.error', (_ctx, error) => console.error('backchannel.error', error.message));
provider.on('grant.error', (_ctx, error) => console.error('grant.error', error.message, error.error_detail));
provider.listen(port, '127.0.0.1', () => console.log(`listening on ${issuer}`));
process.on('SIGTERM', () => process.exit(0));
