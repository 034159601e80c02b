// node reference.mjs [SETTING=VALUE…]
//
// npm `peer`, the PeerServer that PeerJS applications run, on a free port of 127.0.0.1. Prints its base URL when it
// serves. SETTING is one of the options of `peer`. SIGTERM stops it in the same way as the command line of `peer`; the
// end of standard input ends it.

import { PeerServer } from 'peer';

const settings = Object.fromEntries(process.argv.slice(2).map((pair) => {
  const [name, value] = pair.split('=');
  return [name, JSON.parse(value)];
}));

const app = PeerServer({ host: '127.0.0.1', port: 0, ...settings }, (server) => {
  console.log(`serving http://127.0.0.1:${server.address().port}/`);
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
});
process.stdin.on('end', () => process.exit(0)).resume();
// The command line of `peer` logs errors that would otherwise end the process, for example a message that is not JSON.
app.on('error', (error) => console.error(`PeerServer: ${error.message}`));
