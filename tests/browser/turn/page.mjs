// What a page is made of that connects through a relay alone.

export const CLIENT = {
  files: {
    '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
    '/peer.js': [new URL('page/peer.js', import.meta.url), 'text/javascript; charset=utf-8'],
  },
  permissions: [],
  // The hub shows a certificate of the test's own.
  flags: ['--ignore-certificate-errors'],
};
