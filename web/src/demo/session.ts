// One visit to a demo room, from the first click to the last word. A room is a network of the native dialect, and two
// who are in it connect. `State` is all that is shown, and is made anew with each change.
import { get, Refused, type About, type Stats } from '../api';
import { isWell } from '../live';
import { hubName } from '../words';
import { Link } from './link';
import type { Kind } from './path';
import { boundId, freshId, record, Signaling, type Listener, type Place, type Signal } from './signaling';

export type Phase = 'entering' | 'waiting' | 'meeting' | 'talking' | 'failed';

export interface Line {
  from: 'self' | 'other' | 'page';
  text: string;
}

export interface State {
  phase: Phase;
  room: string;
  self: string;
  here: Place;
  other: { id: string; place: Place } | null;
  lines: Line[];
  roundTripMs: number | null;
  path: Kind | null;
  trouble: string | null;
}

const LINES_KEPT = 200;
const EARLY_KEPT = 100;
const NEXT_KEPT = 20;
const FULL = 'The room is full: two are talking in it already. Open a room of your own.';

export class Session implements Listener {
  state: State;
  #signaling: Signaling | null = null;
  #link: Link | null = null;
  #servers: RTCIceServer[] = [];
  /** What came of others than the one who is met: of peers that the mesh has not announced yet, or whose turn may come. */
  #early: Signal[] = [];
  /**
   * Who came while another is met, in that order. The mesh keeps the place of a page whose connection broke for a moment, so
   * the one who is met may have gone already: nobody is sent away before a channel is open.
   */
  #next = new Map<string, Place>();
  /** Whether the one who is met has said anything. */
  #heard = false;
  #hubEnded: string | null = null;
  #over = false;

  constructor(
    room: string,
    private readonly token: string,
    private readonly about: About,
    private readonly changed: (state: State) => void,
  ) {
    this.state = {
      phase: 'entering',
      room,
      self: boundId(token) ?? freshId(),
      here: { hub: null, region: about.region },
      other: null,
      lines: [],
      roundTripMs: null,
      path: null,
      trouble: null,
    };
  }

  async enter() {
    if (!('RTCPeerConnection' in window)) return this.#fail('This browser has no WebRTC, or it is switched off.');
    try {
      const { hub, region } = await get<About>('/page.json');
      this.#set({ here: { hub, region } });
      if (this.about.iceServers) {
        const answer = await get<{ iceServers: RTCIceServer[] }>(`/ice-servers?peerId=${encodeURIComponent(this.state.self)}`, this.token);
        this.#servers = answer.iceServers;
      }
      if (!this.#over) this.#signaling = new Signaling(this.state.self, `demo-${this.state.room}`, this.token, this);
    } catch (error) {
      this.#fail(error instanceof Refused ? refusal(error) : 'This hub does not answer.');
    }
  }

  say(text: string) {
    if (!this.#link?.isOpen || !text) return;
    this.#link.say(text);
    this.#line('self', text);
  }

  /** Leaves the room; nothing is told any more after this. */
  leave() {
    this.#over = true;
    this.#link?.close();
    this.#signaling?.close();
  }

  connected() {
    this.#set({ phase: 'waiting' });
    this.#signaling?.announce({ demo: this.state.here });
  }

  discovered(peer: string, data: unknown) {
    const place = placeOf(data);
    if (peer === this.state.self || !place) return;
    const { other } = this.state;
    if (other?.id === peer) return;
    if (!other) this.#meet(peer, place);
    else if (this.#link?.isOpen) this.#turnAway(peer);
    else if (this.#next.size < NEXT_KEPT) this.#next.set(peer, place);
  }

  #turnAway(peer: string) {
    this.#signaling?.send('answer', peer, { full: true });
  }

  #meet(peer: string, place: Place) {
    const offers = this.state.self < peer;
    this.#next.delete(peer);
    this.#heard = false;
    this.#set({ phase: 'meeting', other: { id: peer, place }, trouble: null, path: null, roundTripMs: null });
    this.#link = new Link(offers, this.#servers, {
      send: (type, data) => this.#signaling?.send(type, peer, data),
      opened: () => {
        this.#set({ phase: 'talking' });
        this.#line('page', `Connected. The other side is on ${hubName(place.hub, place.region)}.`);
        for (const late of this.#next.keys()) this.#turnAway(late);
        this.#next.clear();
        this.#early = [];
      },
      text: (text) => this.#line('other', text),
      measured: (roundTripMs, path) => this.#set({ roundTripMs, path }),
      ended: (why) => {
        if (!why) return this.#gone();
        // The other side need not wait to find out for itself.
        this.#signaling?.send('answer', peer, { failed: true });
        this.#fail(why);
      },
    });
    const early = this.#early.filter(({ from }) => from === peer);
    this.#early = this.#early.filter(({ from }) => from !== peer);
    // Nobody has answered an offer that was not made yet: what looks so is of an earlier meeting.
    for (const signal of early) if (!offers || wordOf(signal)) this.signal(signal);
  }

  left(peer: string, reason: string) {
    this.#next.delete(peer);
    this.#early = this.#early.filter(({ from }) => from !== peer);
    if (peer !== this.state.other?.id) return;
    if (!this.#link?.isOpen || reason === 'goodbye') this.#gone();
    else {
      this.#line('page', `The mesh lost the other side (${reason}). The data channel does not need it, and goes on.`);
    }
  }

  signal(signal: Signal) {
    if (signal.from !== this.state.other?.id) return this.#signalOfAnother(signal);
    this.#heard = true;
    const word = wordOf(signal);
    if (!word) {
      void this.#link?.take(signal);
    } else if (!this.#link?.isOpen) {
      if (word === 'full') this.#fail(FULL);
      else this.#link?.giveUp();
    }
  }

  #signalOfAnother(signal: Signal) {
    if (this.#link?.isOpen) return;
    const place = this.#next.get(signal.from);
    if (place && wordOf(signal)) {
      this.#next.delete(signal.from);
      return;
    }
    if (this.#early.length < EARLY_KEPT) this.#early.push(signal);
    // Somebody who is there, in place of one who has said nothing. It also ends it when three wait for each other in a circle.
    if (place && signal.type === 'offer' && !this.#heard) this.#meetInstead(signal.from, place);
  }

  #meetInstead(peer: string, place: Place) {
    const { other } = this.state;
    this.#link?.close();
    if (other) this.#next.set(other.id, other.place);
    this.#meet(peer, place);
  }

  undelivered(peer: string, why: string) {
    if (peer !== this.state.other?.id || this.#link?.isOpen) return;
    if (this.#next.size) this.#gone();
    else this.#fail(`The mesh could not deliver to the other side: ${why}.`);
  }

  async closed(opened: boolean, code: number, reason: string) {
    const why = `The hub closed the connection: ${reason || `code ${code}`}.`;
    if (this.#link?.isOpen) {
      this.#hubEnded = why;
      this.#line('page', `${why} The data channel does not need it, and goes on.`);
    } else {
      this.#fail(opened ? why : await this.#whyNotLetIn());
    }
  }

  /** Browsers tell a page nothing of why a WebSocket was refused. */
  async #whyNotLetIn(): Promise<string> {
    const isRunning = await isWell().catch(() => null);
    if (isRunning === null) return 'This hub does not answer.';
    if (!isRunning) return 'The hub is shutting down and lets nobody in.';
    const stats = this.about.showsMesh ? await get<Stats>('/stats').catch(() => null) : null;
    if (stats && stats.connections >= stats.maxConnections) return 'The hub is full: as many peers as it takes are connected.';
    if (this.about.needsToken) return 'The hub did not let this page in. Most likely the token is wrong, or has expired.';
    return (
      'The hub did not let this page in: too many connections came from your address, pages of this origin may not ' +
      'connect (CORS_ORIGIN), or a proxy in between passes no WebSockets on.'
    );
  }

  #gone() {
    this.#link?.close();
    this.#link = null;
    if (this.#hubEnded) return this.#fail(`The other side has gone. ${this.#hubEnded}`);
    this.#set({ phase: 'waiting', other: null, roundTripMs: null, path: null });
    this.#line('page', 'The other side has gone. The room stays open: whoever opens the link comes in.');
    const [next] = this.#next;
    if (next) this.#meet(...next);
  }

  #fail(trouble: string) {
    if (this.#over) return;
    this.leave();
    this.state = { ...this.state, phase: 'failed', trouble };
    this.changed(this.state);
  }

  #line(from: Line['from'], text: string) {
    this.#set({ lines: [...this.state.lines, { from, text }].slice(-LINES_KEPT) });
  }

  #set(news: Partial<State>) {
    if (this.#over) return;
    this.state = { ...this.state, ...news };
    this.changed(this.state);
  }
}

function refusal({ status, message }: Refused): string {
  if (status === 401 || status === 403) return `The hub refuses this token: ${message}.`;
  if (status === 429) return `The hub asks to wait: ${message}.`;
  return `The hub does not let this page in: ${message}.`;
}

/** What a page of this demo says to one with whom there is no connection, nor will be. */
function wordOf({ data }: Signal): 'full' | 'failed' | null {
  const { full, failed } = record(data);
  if (full === true) return 'full';
  return failed === true ? 'failed' : null;
}

/** Where another page of this demo is; `null` for what is none. */
function placeOf(data: unknown): Place | null {
  const { demo } = record(data);
  if (typeof demo !== 'object' || demo === null) return null;
  const { hub, region } = record(demo);
  return { hub: typeof hub === 'string' ? hub : null, region: typeof region === 'string' ? region : '' };
}
