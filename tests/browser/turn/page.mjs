// The parts of a page that connects only through a relay.

export const CLIENT = {
  files: {
    '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
    '/peer.js': [new URL('page/peer.js', import.meta.url), 'text/javascript; charset=utf-8'],
  },
  permissions: [],
  // The test makes the hub's certificate, which Chromium does not trust.
  flags: ['--ignore-certificate-errors'],
};
