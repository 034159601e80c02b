// PeerServer on a free port of loopback, to be measured: says its address on standard output once it listens.
//
// `load-test table` runs this text in the folder whose node_modules holds `peer`, with the most clients to let in as
// its only argument. Everything else is as PeerServer has it by default.
import { PeerServer } from 'peer';

const options = { host: '127.0.0.1', port: 0, concurrent_limit: Number(process.argv[1]) };
const app = PeerServer(options, (server) => {
  const { address, port } = server.address();
  console.log(`server on ${address}:${port}`);
});
// Without a listener a client's broken socket would end the server.
app.on('error', (error) => console.error(`a client's socket: ${error.message}`));
