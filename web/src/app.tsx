// The page: what this is, how it is, a demo, and how to connect to it.
import { Connect } from './connect';
import { Demo } from './demo/demo';
import { Figures, hubVerdict, Mesh, Pill } from './health';
import { useLive } from './live';
import icon from './icon.svg';

export function App() {
  const live = useLive();
  const { about, stats, mesh, answers } = live;
  return (
    <>
      <header>
        <img src={icon} alt="" width="40" height="40" />
        <h1>hubmesh</h1>
        <span id="verdict" role="status">
          <Pill {...hubVerdict(live)} />
        </span>
      </header>
      <main>
        <p class="lead">
          A signaling server for WebRTC. Peers connect to this hub to find each other, and to pass on the offers, answers
          and candidates that a direct connection needs. Hubs link up into one mesh: a peer on any of them reaches a peer
          on any other.
        </p>
        {about && (
          <>
            {stats && (
              <div class={answers ? 'live' : 'live stale'}>
                <Figures stats={stats} />
              </div>
            )}
            <div class="columns">
              {about.demo && <Demo about={about} hubs={mesh?.hubs ?? []} />}
              {stats && mesh && (
                <div class={answers ? 'live' : 'live stale'}>
                  <Mesh stats={stats} mesh={mesh} />
                </div>
              )}
              <Connect about={about} isHub={about.isHub} />
            </div>
          </>
        )}
      </main>
      <footer>
        {about && <span>hubmesh {about.version}</span>}
        <nav aria-label="In JSON">
          {['health', ...(about?.showsMesh ? ['stats', 'hubs', 'hubstats', 'metrics'] : [])].map((page) => (
            <a key={page} href={`/${page}`}>
              /{page}
            </a>
          ))}
        </nav>
      </footer>
    </>
  );
}
