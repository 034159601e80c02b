// The operator's page: the login, the figures of the mesh, and one of the views.
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';

import { Figure, Pill } from '../health';
import icon from '../icon.svg';
import { Tabs } from '../tabs';
import { count, rate, short } from '../words';
import { get, logout, whyNot, type Session, type Topology } from './api';
import { BansView } from './bans';
import { bus } from './bus';
import { EventList, EventsView, eventWords, weight } from './events';
import { useFeed, type Feed } from './feed';
import { Hubs } from './hubs';
import { Login } from './login';
import { follow, totals, type Mesh } from './mesh';
import { NetworksView } from './networks';
import { PendingView } from './pending';
import { Picture } from './picture';
import { poll } from './polled';
import { Steering, type Wish } from './steering';
import { TrafficView } from './traffic';

const VIEWS = ['Mesh', 'Networks', 'Traffic', 'Signals', 'Bans', 'Events'] as const;
type View = (typeof VIEWS)[number];
/** Often enough to show in time that a hub is lost, also while no events arrive. */
const MESH_EVERY_MS = 2_000;
const SESSION_AGAIN_MS = 5_000;
const RECENT = 12;

function useSession() {
  const [session, setSession] = useState<Session | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const ask = useCallback(async () => {
    try {
      setSession(await get<Session>('session'));
      setTrouble(null);
    } catch (error) {
      setTrouble(whyNot(error));
    }
  }, []);
  useEffect(() => {
    void ask();
    return bus.on('session', ask);
  }, []);
  useEffect(() => {
    if (!trouble) return;
    const timer = setInterval(ask, SESSION_AGAIN_MS);
    return () => clearInterval(timer);
  }, [trouble]);
  return { session, trouble, ask };
}

function useMesh(wanted: boolean) {
  const [state, setState] = useState<{ mesh: Mesh | null; trouble: string | null }>({ mesh: null, trouble: null });
  useEffect(() => {
    if (!wanted) return;
    return poll<Topology>('topology', MESH_EVERY_MS, ['members', 'hubs'], ({ data, trouble = null }) =>
      setState(({ mesh }) => ({ mesh: data ? follow(mesh, data, Date.now()) : mesh, trouble })),
    );
  }, [wanted]);
  return state;
}

function viewOfPage(): number {
  const named = VIEWS.findIndex((view) => `#${view.toLowerCase()}` === location.hash);
  return Math.max(0, named);
}

function useView() {
  const [view, setView] = useState(viewOfPage);
  useEffect(() => {
    const moved = () => setView(viewOfPage());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  const choose = (number: number) => {
    history.replaceState(null, '', `#${VIEWS[number]!.toLowerCase()}`);
    setView(number);
  };
  return { view, choose };
}

export function App() {
  const { session, trouble, ask } = useSession();
  const isIn = session !== null && session.access !== 'none';
  // A hub without ADMIN_TOKEN and ADMIN_ADDR shows its events to nobody.
  const feed = useFeed(isIn && session.access === 'full');
  const live = useMesh(isIn);
  const leave = async () => {
    await logout().catch(() => {});
    await ask();
  };
  return (
    <>
      <header class="wide">
        <img src={icon} alt="" width="40" height="40" />
        <h1>
          hubmesh <small>operator</small>
        </h1>
        <span id="verdict" role="status">
          <Verdict trouble={trouble ?? live.trouble} feed={feed} session={session} mesh={live.mesh} />
        </span>
        {session?.with === 'cookie' && (
          <button type="button" class="quiet" onClick={leave}>
            Log out
          </button>
        )}
      </header>
      <main class="wide">
        {session && !isIn && <Login session={session} entered={ask} />}
        {isIn && <Board session={session} feed={feed} mesh={live.mesh} />}
      </main>
    </>
  );
}

function Verdict({ trouble, feed, session, mesh }: { trouble: string | null; feed: Feed; session: Session | null; mesh: Mesh | null }) {
  if (trouble) return <Pill mood="bad" text={`Not up to date: ${trouble}`} />;
  if (!session || session.access === 'none' || !mesh) return <Pill mood="unknown" text="Asking the hub" />;
  const { lost, draining } = totals(mesh);
  if (lost) return <Pill mood="bad" text={`${count(lost, 'hub')} lost`} />;
  if (!feed.isLive && session.access === 'full') return <Pill mood="warn" text="No events; the page asks every two seconds" />;
  if (draining) return <Pill mood="warn" text={`${count(draining, 'hub')} draining`} />;
  return <Pill mood="well" text="Live" />;
}

function Board({ session, feed, mesh }: { session: Session; feed: Feed; mesh: Mesh | null }) {
  const { view, choose } = useView();
  const [wish, setWish] = useState<Wish | null>(null);
  const [done, setDone] = useState('');
  const mayAct = session.access === 'full';
  return (
    <>
      {!mayAct && (
        <p class="soft">
          Read only: this hub has neither ADMIN_TOKEN nor ADMIN_ADDR. With one of them, operators also see addresses, subjects, bans and events here, and
          may remove and ban peers.
        </p>
      )}
      {mesh && <Figures mesh={mesh} />}
      <Tabs id="view" names={VIEWS} chosen={view} choose={choose} label="Views" />
      <p class="done" role="status">
        {done}
      </p>
      <div id="view" role="tabpanel" aria-labelledby={`view-${view}`}>
        {mesh && <Panel view={VIEWS[view]!} mesh={mesh} feed={feed} mayAct={mayAct} wish={setWish} />}
      </div>
      {wish && <Steering wish={wish} close={() => setWish(null)} done={setDone} />}
    </>
  );
}

interface PanelProps {
  view: View;
  mesh: Mesh;
  feed: Feed;
  mayAct: boolean;
  wish: (wish: Wish) => void;
}

function Panel({ view, mesh, feed, mayAct, wish }: PanelProps) {
  switch (view) {
    case 'Mesh':
      return <MeshView mesh={mesh} feed={feed} seesAll={mayAct} />;
    case 'Networks':
      return <NetworksView mayAct={mayAct} wish={wish} />;
    case 'Traffic':
      return <TrafficView mesh={mesh} />;
    case 'Signals':
      return <PendingView />;
    case 'Bans':
      return mayAct ? <BansView wish={wish} /> : <ForOperators title="Bans" />;
    case 'Events':
      return mayAct ? <EventsView feed={feed} /> : <ForOperators title="Events" />;
  }
}

/** In place of a view that only operators see. The hub's own machine sees the other views. */
function ForOperators({ title }: { title: string }) {
  return (
    <section class="card">
      <h2>{title}</h2>
      <p class="soft">Only operators see this: set ADMIN_TOKEN or ADMIN_ADDR.</p>
    </section>
  );
}

function Figures({ mesh }: { mesh: Mesh }) {
  const { hubs, lost, draining, silent, peers, messagesPerS, waiting, contests } = totals(mesh);
  const notes = [lost && `${lost} lost`, draining && `${draining} draining`, silent && `${silent} without a report`].filter(Boolean);
  return (
    <dl class="figures" id="figures">
      <Figure name="Hubs" value={hubs.toLocaleString('en')} note={notes.join(', ') || count(mesh.links.length, 'link')} />
      <Figure name="Peers" value={peers.toLocaleString('en')} note="in the mesh" />
      <Figure name="Messages" value={rate(messagesPerS)} note="per second, from peers" />
      <Figure name="Waiting signals" value={waiting.toLocaleString('en')} note={count(contests, 'contested id')} />
    </dl>
  );
}

function MeshView({ mesh, feed, seesAll }: { mesh: Mesh; feed: Feed; seesAll: boolean }) {
  const [chosen, setChosen] = useState<string | null>(null);
  const choose = (hub: string) => {
    setChosen(hub);
    document.querySelector(`#hubs tr[data-hub="${CSS.escape(hub)}"]`)?.scrollIntoView({ block: 'nearest' });
  };
  const grave = feed.events.find((event) => weight(event) === 'bad');
  // Both are rendered again when the hub has answered, and not with each event.
  const picture = useMemo(() => <Picture mesh={mesh} chosen={chosen} choose={choose} />, [mesh, chosen]);
  const table = useMemo(() => <Hubs mesh={mesh} chosen={chosen} />, [mesh, chosen]);
  return (
    <>
      <div class="overview">
        <section class="card" aria-labelledby="picture-title">
          <h2 id="picture-title">Hubs and links</h2>
          {picture}
        </section>
        <section class="card" aria-labelledby="recent-title">
          <h2 id="recent-title">Just now</h2>
          {seesAll ? (
            <EventList events={feed.events.slice(0, RECENT)} label="The last events, the newest first" />
          ) : (
            <p class="soft">Only operators see this: set ADMIN_TOKEN or ADMIN_ADDR.</p>
          )}
          <p class="offscreen" role="status">
            {grave && `hub ${short(grave.hub)}: ${eventWords(grave)}`}
          </p>
        </section>
      </div>
      <section class="card" aria-labelledby="hubs-title">
        <h2 id="hubs-title">Hubs</h2>
        {table}
      </section>
    </>
  );
}
