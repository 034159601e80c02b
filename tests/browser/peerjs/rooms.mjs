// The checks of a hub in room mode, where the token names a room. The reference has no rooms, so nothing differs.

import { noted } from './lab.mjs';

const ofType = (wanted) => ({ type }) => type === wanted;
const about = (wanted, client) => ({ type, peerId }) => type === wanted && peerId === client.id;
const errorOf = ({ type, payload }) => `${type} ${payload?.type}`;

/** Members of a room of their own, taking turns between the servers, each known to all. */
async function room(lab, size) {
  const token = lab.name('room');
  const sides = ['here', 'there'];
  const joining = Array.from({ length: size }, (_, place) => lab.peer({ token, at: sides[place % 2] }));
  const members = await Promise.all(joining);
  const greet = (from) => members.filter((to) => to !== from).map((to) => lab.mark(from, to));
  await Promise.all(members.flatMap(greet));
  return { token, members };
}

/** What a member was sent after the greetings of its room. */
const news = (member) => member.messages.filter(({ type, payload }) => type !== 'OPEN' && !payload?.mark).map(noted);

export const ROOM_CHECKS = [
  {
    name: 'members of a room reach each other, whichever hub they are on',
    async observe(lab) {
      const { members: [ada, bob] } = await room(lab, 2);
      ada.send(`{"type":"OFFER","dst":"${bob.id}","payload":{"n":1.50}}`);
      const text = await bob.text(({ payload }) => payload?.n);
      return { untouched: text.includes('"payload":{"n":1.50}'), src: JSON.parse(text).src === ada.id };
    },
    expected: { untouched: true, src: true },
  },
  {
    name: 'one member more than a room takes',
    async observe(lab) {
      const { token } = await room(lab, lab.settings.limit);
      const refused = ['here', 'there'].map((at) => lab.start({ token, at }).closed());
      const next = await lab.peer();
      return { refused: await Promise.all(refused), anotherRoom: next.messages.map(noted) };
    },
    expected: { refused: ['HTTP 429', 'HTTP 429'], anotherRoom: ['OPEN'] },
  },
  {
    name: 'a place in a full room that became free',
    async observe(lab) {
      const { token, members: [leaver, ...rest] } = await room(lab, lab.settings.limit);
      leaver.close();
      await Promise.all(rest.map((member) => member.message(about('LEAVE', leaver))));
      const next = await lab.peer({ token, at: 'there' });
      return next.messages.map(noted);
    },
    expected: ['OPEN'],
  },
  {
    name: 'an offer to a member of another room',
    async observe(lab) {
      const [ours, theirs] = await Promise.all([room(lab, 1), room(lab, 2)]);
      const [ada] = ours.members;
      const [bob, friend] = theirs.members;
      ada.send({ type: 'OFFER', dst: bob.id, payload: 1 });
      const error = await ada.message(({ type }) => type !== 'OPEN');
      await lab.mark(friend, bob);
      return { target: news(bob), sender: errorOf(error) };
    },
    expected: { target: [], sender: 'ERROR unknown-peer' },
  },
  {
    name: 'the same id in two rooms',
    async observe(lab) {
      const id = lab.name();
      const one = await lab.peer({ id, at: 'here' });
      const other = await lab.peer({ id, at: 'there' });
      const guest = await lab.peer({ token: other.token, at: 'here' });
      await lab.mark(guest, other);
      return { one: one.messages.map(noted), other: other.messages.map(({ type }) => type) };
    },
    expected: { one: ['OPEN'], other: ['OPEN', 'OFFER'] },
  },
  {
    name: 'a message in the name of another member',
    async observe(lab) {
      const { members: [ada, bob, cy] } = await room(lab, 3);
      ada.send({ type: 'OFFER', src: cy.id, dst: bob.id, payload: 'forged' });
      const error = await ada.message(ofType('ERROR'));
      await lab.mark(ada, bob);
      return { target: news(bob), sender: errorOf(error) };
    },
    expected: { target: [], sender: 'ERROR invalid-message' },
  },
  {
    name: 'a message that names its own sender',
    async observe(lab) {
      const { members: [ada, bob] } = await room(lab, 2);
      ada.send({ type: 'OFFER', src: ada.id, dst: bob.id, payload: 1 });
      return (await bob.message(({ payload }) => payload === 1)).src === ada.id;
    },
    expected: true,
  },
  {
    name: 'the room is told of a member that goes, other rooms are not',
    async observe(lab) {
      const [{ members: [ada, bob, cy] }, { members: [stranger, friend] }] =
        await Promise.all([room(lab, 3), room(lab, 2)]);
      ada.close();
      const told = await Promise.all([bob, cy].map((member) => member.message(about('LEAVE', ada))));
      await lab.mark(friend, stranger);
      return { told: told.map(({ type }) => type), stranger: news(stranger) };
    },
    expected: { told: ['LEAVE', 'LEAVE'], stranger: [] },
  },
  {
    name: 'the room is told of a member that says LEAVE',
    async observe(lab) {
      const { members: [ada, bob, cy] } = await room(lab, 3);
      ada.send({ type: 'LEAVE' });
      const told = await Promise.all([bob, cy].map((member) => member.message(about('LEAVE', ada))));
      return told.map(({ type }) => type);
    },
    expected: ['LEAVE', 'LEAVE'],
  },
  {
    name: 'the room is told of a member that fell silent',
    needs: 'alive',
    async observe(lab) {
      const { token, members: [bob, cy] } = await room(lab, 2);
      const silent = await lab.peer({ token, heartbeats: false, pongs: false });
      const told = await Promise.all([bob, cy].map((member) => member.message(about('EXPIRE', silent))));
      return told.map(({ type }) => type);
    },
    expected: ['EXPIRE', 'EXPIRE'],
  },
].map((check) => ({ ...check, suite: 'rooms' }));
