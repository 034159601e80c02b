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
const FULL = 'The room is full: two are talking in it already. Open a room of your own.';

export class Session implements Listener {
  state: State;
  #signaling: Signaling | null = null;
  #link: Link | null = null;
  #servers: RTCIceServer[] = [];
  /** What came of peers that the mesh has not announced yet: a signal may be faster. */
  #early: Signal[] = [];
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
    if (other) this.#signaling?.send('answer', peer, { full: true });
    else this.#meet(peer, place);
  }

  #meet(peer: string, place: Place) {
    this.#set({ phase: 'meeting', other: { id: peer, place }, trouble: null, path: null, roundTripMs: null });
    this.#link = new Link(this.state.self < peer, this.#servers, {
      send: (type, data) => this.#signaling?.send(type, peer, data),
      opened: () => {
        this.#set({ phase: 'talking' });
        this.#line('page', `Connected. The other side is on ${hubName(place.hub, place.region)}.`);
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
    for (const signal of this.#early.splice(0)) this.signal(signal);
  }

  left(peer: string, reason: string) {
    if (peer !== this.state.other?.id) return;
    if (!this.#link?.isOpen || reason === 'goodbye') this.#gone();
    else {
      this.#line('page', `The mesh lost the other side (${reason}). The data channel does not need it, and goes on.`);
    }
  }

  signal(signal: Signal) {
    if (!this.state.other && this.#early.length < EARLY_KEPT) this.#early.push(signal);
    if (signal.from !== this.state.other?.id) return;
    const { full, failed } = record(signal.data);
    if (full !== true && failed !== true) {
      void this.#link?.take(signal);
    } else if (!this.#link?.isOpen) {
      if (full === true) this.#fail(FULL);
      else this.#link?.giveUp();
    }
  }

  undelivered(peer: string, why: string) {
    if (peer !== this.state.other?.id || this.#link?.isOpen) return;
    this.#fail(`The mesh could not deliver to the other side: ${why}.`);
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

/** Where another page of this demo is; `null` for what is none. */
function placeOf(data: unknown): Place | null {
  const { demo } = record(data);
  if (typeof demo !== 'object' || demo === null) return null;
  const { hub, region } = record(demo);
  return { hub: typeof hub === 'string' ? hub : null, region: typeof region === 'string' ? region : '' };
}
