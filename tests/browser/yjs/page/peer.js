// A document that is shared by y-webrtc, in one page, for the stories to drive. Uses the provider's public options and
// methods; changes nothing in it.

import { WebrtcProvider } from 'y-webrtc';
import * as Y from 'yjs';

const doc = new Y.Doc();
const text = doc.getText('text');
let provider;

window.peer = {
  start(url, { room, password }) {
    const peerOpts = { config: { iceServers: [] } };
    provider = new WebrtcProvider(room, doc, { signaling: [url], password, filterBcConns: false, peerOpts });
    return String(doc.clientID);
  },
  write: (words) => text.insert(text.length, words),
  text: () => text.toString(),
  links: () => [...(provider.room?.webrtcConns.values() ?? [])].filter(({ connected }) => connected).length,
  isOnline: () => provider.signalingConns.some(({ connected }) => connected),
  status: () => ({ text: text.toString(), online: provider.signalingConns.map(({ connected }) => connected) }),
};
