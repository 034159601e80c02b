// The demo: a room, its link, and what the connection of the two who are in it is like.
import { useEffect, useRef, useState } from 'preact/hooks';

import type { About, OtherHub } from '../api';
import { Snippet } from '../copy';
import { Qr } from '../qr';
import { hubName, millis, short, webOrigin } from '../words';
import { LONGEST_TEXT } from './link';
import { KINDS } from './path';
import { freshRoom, roomLink, roomOf, roomOfPage } from './room';
import { Session, type State } from './session';

const LOCAL = ['localhost', '127.0.0.1', '[::1]'];

interface Visit {
  session: Session;
  state: State;
  /** Whether this side opened the room, and so is the one to pass its link on. */
  opened: boolean;
}

function useVisit(about: About) {
  const [visit, setVisit] = useState<Visit | null>(null);
  const session = useRef<Session | null>(null);
  const enter = (room: string, token: string, opened: boolean) => {
    session.current?.leave();
    const fresh = new Session(room, token, about, (state) => {
      if (session.current === fresh) setVisit({ session: fresh, state, opened });
    });
    session.current = fresh;
    history.replaceState(null, '', `#room=${room}`);
    setVisit({ session: fresh, state: fresh.state, opened });
    void fresh.enter();
  };
  const leave = () => {
    session.current?.leave();
    session.current = null;
    history.replaceState(null, '', location.pathname);
    setVisit(null);
  };
  useEffect(() => {
    const go = () => session.current?.leave();
    // A page that the browser kept and shows again, as after Back, has left its room: it begins anew.
    const shown = (event: PageTransitionEvent) => event.persisted && location.reload();
    addEventListener('pagehide', go);
    addEventListener('pageshow', shown);
    return () => {
      removeEventListener('pagehide', go);
      removeEventListener('pageshow', shown);
      go();
    };
  }, []);
  return { visit, enter, leave };
}

export function Demo({ about, hubs }: { about: About; hubs: OtherHub[] }) {
  const { visit, enter, leave } = useVisit(about);
  const [token, setToken] = useState('');
  const ready = !about.needsToken || token !== '';

  useEffect(() => {
    const invited = () => {
      const room = roomOfPage();
      if (room && ready && room !== visit?.state.room) enter(room, token, false);
    };
    // Who was sent a link has done all that is asked of him, unless the hub wants a token.
    if (!about.needsToken) invited();
    addEventListener('hashchange', invited);
    return () => removeEventListener('hashchange', invited);
  }, [about.needsToken, ready, token, visit?.state.room]);

  return (
    <section class="card demo" aria-labelledby="demo">
      <div class="headline">
        <h2 id="demo">Demo</h2>
        {visit && (
          <button type="button" class="quiet" onClick={leave}>
            Leave the room
          </button>
        )}
      </div>
      {visit ? (
        <Room visit={visit} hubs={hubs} again={() => enter(visit.state.room, token, visit.opened)} />
      ) : (
        <Door about={about} token={token} setToken={setToken} enter={enter} />
      )}
    </section>
  );
}

interface DoorProps {
  about: About;
  token: string;
  setToken: (token: string) => void;
  enter: (room: string, token: string, opened: boolean) => void;
}

function Door({ about, token, setToken, enter }: DoorProps) {
  const [typed, setTyped] = useState(roomOfPage() ?? '');
  const room = roomOf(typed);
  const invited = roomOfPage();
  const wanting = about.needsToken && !token;
  return (
    <div>
      <p>
        Open a room and pass its link on. Whoever opens it, in another tab, browser or phone and on whichever hub of the
        mesh, is connected to you by a WebRTC data channel that this mesh signals.
      </p>
      {about.needsToken && (
        <label class="field">
          <span>This hub asks for a token. It is kept in this tab alone, and forgotten with it.</span>
          <input type="password" autocomplete="off" value={token} onInput={(event) => setToken(event.currentTarget.value.trim())} />
        </label>
      )}
      <div class="door">
        <button type="button" class="primary" disabled={wanting} onClick={() => enter(freshRoom(), token, true)}>
          Open a room
        </button>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (room && !wanting) enter(room, token, false);
          }}
        >
          <label>
            <span class="offscreen">A room's name or link</span>
            <input placeholder="a room's name or link" value={typed} spellcheck={false} onInput={(event) => setTyped(event.currentTarget.value)} />
          </label>
          <button type="submit" disabled={!room || wanting}>
            {invited ? 'Enter the room' : 'Enter'}
          </button>
        </form>
      </div>
    </div>
  );
}

function phaseText({ phase, other }: State, opened: boolean): string {
  switch (phase) {
    case 'entering':
      return 'Entering the room…';
    case 'waiting':
      return opened ? 'The room is open. Waiting for somebody to open its link…' : 'In the room. Waiting for the other side…';
    case 'meeting':
      return `Found ${short(other?.id ?? '')} through the mesh. Connecting…`;
    case 'talking':
      return 'Connected by a data channel.';
    case 'failed':
      return 'Not connected.';
  }
}

function Room({ visit, hubs, again }: { visit: Visit; hubs: OtherHub[]; again: () => void }) {
  const { session, state, opened } = visit;
  const alone = state.phase === 'entering' || state.phase === 'waiting';
  return (
    <div class="room" data-phase={state.phase}>
      <p class="phase" role="status">
        <span class={`dot ${state.phase}`} aria-hidden="true" />
        {phaseText(state, opened)}
      </p>
      {state.trouble && (
        <div class="trouble" role="alert">
          <p>{state.trouble}</p>
          <button type="button" onClick={again}>
            Try again
          </button>
        </div>
      )}
      {alone && <Invitation room={state.room} hubs={hubs} />}
      {state.other && <Connection state={state} />}
      {(state.phase === 'talking' || state.lines.length > 0) && <Talk session={session} state={state} />}
    </div>
  );
}

function Invitation({ room, hubs }: { room: string; hubs: OtherHub[] }) {
  const link = roomLink(room);
  const elsewhere = hubs.flatMap(({ peerId, region, url }) => {
    const origin = webOrigin(url);
    return origin ? [{ peerId, region, href: roomLink(room, origin) }] : [];
  });
  return (
    <div class="invitation">
      <Qr text={link} label={`QR code of ${link}`} />
      <div>
        <div id="room-link">
          <Snippet text={link} what="the link to the room" />
        </div>
        <p class="soft">
          The first who opens it comes in; a third is told that the room is full. On a hub that this link does not lead
          to, type the room's name there: <code>{room}</code>
        </p>
        {LOCAL.includes(location.hostname) && (
          <p class="soft">This link works on this machine alone: for a phone, open this page by the machine's name or address.</p>
        )}
        {elsewhere.length > 0 && (
          <p class="soft">
            The same room on{' '}
            {elsewhere.slice(0, 8).map(({ peerId, region, href }) => (
              <a key={peerId} class="spaced" href={href} target="_blank" rel="noreferrer">
                {hubName(peerId, region)}
              </a>
            ))}
          </p>
        )}
      </div>
    </div>
  );
}

function Connection({ state }: { state: State }) {
  const { here, other, self, path, roundTripMs } = state;
  if (!other) return null;
  return (
    <dl class="connection">
      <div>
        <dt>You</dt>
        <dd id="self-hub">
          {hubName(here.hub, here.region)} <small>as {short(self)}</small>
        </dd>
      </div>
      <div>
        <dt>The other side</dt>
        <dd id="other-hub">
          {hubName(other.place.hub, other.place.region)} <small>as {short(other.id)}</small>
        </dd>
      </div>
      <div>
        <dt>Round trip</dt>
        <dd id="round-trip">{roundTripMs === null ? '–' : millis(roundTripMs)}</dd>
      </div>
      <div>
        <dt>Path</dt>
        <dd id="path">
          {path ?? '–'} {path && <small>{KINDS[path]}</small>}
        </dd>
      </div>
    </dl>
  );
}

function Talk({ session, state }: { session: Session; state: State }) {
  const [text, setText] = useState('');
  const list = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const talking = state.phase === 'talking';
  useEffect(() => list.current?.scrollTo(0, list.current.scrollHeight), [state.lines]);
  useEffect(() => {
    if (talking) field.current?.focus({ preventScroll: true });
  }, [talking]);
  const who = { self: 'You', other: 'The other side', page: 'Note' };
  return (
    <div class="talk">
      <div id="lines" ref={list} role="log" aria-label="Messages" tabIndex={0}>
        {state.lines.map(({ from, text: line }, number) => (
          <p key={number} class={from}>
            <span class="offscreen">{who[from]}: </span>
            {line}
          </p>
        ))}
      </div>
      {talking && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            session.say(text.trim());
            setText('');
          }}
        >
          <label>
            <span class="offscreen">A message</span>
            <input
              ref={field}
              id="message"
              maxLength={LONGEST_TEXT}
              placeholder="Say something, from browser to browser"
              autocomplete="off"
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          <button type="submit" class="primary">
            Send
          </button>
        </form>
      )}
    </div>
  );
}
