// What waits: signals whose target nobody holds yet, and ids that two want.
import { short } from '../words';
import type { Contests, Waiting } from './api';
import { usePolled } from './polled';

const PACE = { everyMs: 2_000 } as const;

interface Row {
  hub: string;
  number: number;
}

export function PendingView() {
  const waiting = usePolled<Waiting>('waiting', PACE);
  const contests = usePolled<Contests>('contests', PACE);
  return (
    <div class="pair">
      <Counted
        id="waiting"
        title="Waiting signals"
        note="Sent to an id that nobody holds: each waits five seconds for it to appear anywhere, then its sender is told."
        total={waiting.data?.total}
        rows={waiting.data?.hubs.map(({ hub, waiting: number }) => ({ hub, number }))}
        silent={waiting.data?.notAnswered}
        trouble={waiting.trouble}
      />
      <Counted
        id="contests"
        title="Contests"
        note="Ids that somebody wants and another holds: the holder is asked for a sign of life, and has two seconds."
        total={contests.data?.total}
        rows={contests.data?.hubs.map(({ hub, contests: number }) => ({ hub, number }))}
        silent={contests.data?.notAnswered}
        trouble={contests.trouble}
      />
    </div>
  );
}

interface CountedProps {
  id: string;
  title: string;
  note: string;
  total: number | undefined;
  rows: Row[] | undefined;
  silent: string[] | undefined;
  trouble: string | null;
}

function Counted({ id, title, note, total, rows, silent, trouble }: CountedProps) {
  return (
    <section class="card" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      <p class="soft">{note}</p>
      {trouble && <p class="trouble">{trouble}</p>}
      {total !== undefined && (
        <p class="total" role="status">
          {total.toLocaleString('en')} <small>now</small>
        </p>
      )}
      {rows && rows.length > 0 && (
        <div class="scroll tall" tabIndex={0} role="region" aria-label={`${title} by hub`}>
          <table id={id}>
            <thead>
              <tr>
                <th scope="col">Hub</th>
                <th scope="col" class="number">
                  {title}
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ hub, number }) => (
                <tr key={hub}>
                  <th scope="row">
                    <code>{short(hub)}</code>
                  </th>
                  <td class="number">{number.toLocaleString('en')}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {silent && silent.length > 0 && <p class="soft">Without a word from {silent.map(short).join(', ')}.</p>}
    </section>
  );
}
