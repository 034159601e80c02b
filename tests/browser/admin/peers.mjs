// Peers of all dialects without a browser. They only join, so that the operator's page can show and remove them.

import { once } from 'node:events';

import WebSocket from 'ws';

export const DIALECTS = ['pigeon', 'peerjs', 'rooms', 'coordinator', 'yjs'];

const hexId = (number) => number.toString(16).padStart(40, 'a');

/** How a peer of each dialect joins `network`: `path` to connect to, the `first` message, and then answers to messages. */
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

/** A peer of this dialect in this network. `closed` resolves with the code and the reason of the hub's close. */
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

/** `many` peers, of all dialects and at all hubs in turn. All PeerJS peers are in one network, the realm. */
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
