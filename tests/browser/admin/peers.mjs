// Peers of all dialects without a browser, as far as the operator's page sees them: they come, and are told when they have to go.

import { once } from 'node:events';

import WebSocket from 'ws';

export const DIALECTS = ['pigeon', 'peerjs', 'rooms', 'coordinator', 'yjs'];

const hexId = (number) => number.toString(16).padStart(40, 'a');

/** Where each connects, and what it says to be in `network`: a text once it is connected, or what answers a message. */
const WAYS = {
  pigeon: {
    path: (id) => `ws?peerId=${id}`,
    first: (_, network) => ({ type: 'announce', networkName: network, data: {} }),
  },
  peerjs: { path: (id) => `peerjs?key=peerjs&id=${id}&token=secret-of-${id}` },
  rooms: {
    path: () => 'rooms',
    first: (id, network) => ({ type: 'auth', roomId: network, userId: id }),
    then: (id, network, { type, data }) => {
      const about = { roomId: network, userId: id, data: { roomName: network, userName: id } };
      if (type === 'auth') return { type: 'create-room', ...about };
      return type === 'error' && data.code === 'room-exists' ? { type: 'join-room', ...about } : null;
    },
  },
  coordinator: {
    path: () => 'p2p',
    first: (id) => ({ type: 'register', peerId: id }),
    then: (id, network, { type }) => (type === 'registered' ? { type: 'join-room', peerId: id, roomId: network } : null),
  },
  yjs: { path: () => 'yjs', first: (_, network) => ({ type: 'subscribe', topics: [network] }) },
};

/** A peer of that dialect in that network. Its `closed` gives the code and the words by which the hub ended it. */
export async function peer(hub, dialect, id, network) {
  const way = WAYS[dialect];
  const socket = new WebSocket(`${hub.replace('http', 'ws')}${way.path(encodeURIComponent(id))}`);
  const say = (message) => message && socket.send(JSON.stringify(message));
  const closed = once(socket, 'close').then(([code, reason]) => ({ code, reason: String(reason) }));
  socket.on('message', (text) => say(way.then?.(id, network, JSON.parse(text))));
  await once(socket, 'open');
  say(way.first?.(id, network));
  return { id, socket, closed };
}

/** As many of each dialect, over all hubs in turn. PeerJS has one network for all, its realm. */
export async function crowd(hubs, many) {
  const wanted = Array.from({ length: many }, (_, number) => number);
  return Promise.all(
    wanted.map((number) => {
      const dialect = DIALECTS[number % DIALECTS.length];
      const id = dialect === 'pigeon' ? hexId(number) : `guest-${number}`;
      return peer(hubs[number % hubs.length], dialect, id, `${dialect}-lounge`);
    }),
  );
}
