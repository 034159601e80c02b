// The bans of the mesh.
import { clock, count, plain, short } from '../words';
import { query, type Bans } from './api';
import { usePolled } from './polled';
import type { Wish } from './steering';

const SHOWN = 500;

export function BansView({ wish }: { wish: (wish: Wish) => void }) {
  const { data, trouble } = usePolled<Bans>(query('bans', { limit: SHOWN }), { everyMs: 5_000, on: ['bans'] });
  return (
    <section class="card" aria-labelledby="bans-title">
      <div class="headline">
        <h2 id="bans-title">Bans</h2>
        <button type="button" onClick={() => wish({ what: 'ban', kind: 'address', value: '', member: null })}>
          Place a ban
        </button>
      </div>
      {trouble && <p class="trouble">{trouble}</p>}
      {data && (
        <p class="soft" role="status">
          {data.total ? `${count(data.total, 'ban')} of ${data.max.toLocaleString('en')} at most` : 'Nobody is banned.'}
        </p>
      )}
      {data && data.bans.length > 0 && (
        <div class="scroll tall" tabIndex={0} role="region" aria-label="List of bans">
          <table id="bans">
            <thead>
              <tr>
                {['Who', 'What', 'Where', 'Reason', 'Since', 'Until', 'By hub'].map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
                <th scope="col">Actions</th>
              </tr>
            </thead>
            <tbody>
              {data.bans.map((ban) => (
                <tr key={ban.ban}>
                  <th scope="row" class="id">
                    {plain(ban.value)}
                  </th>
                  <td>{ban.kind}</td>
                  <td class="id">{ban.dialect ? `${ban.dialect} ${plain(ban.network ?? '')}` : 'everywhere'}</td>
                  <td class="words">{plain(ban.reason ?? '') || '–'}</td>
                  <td>{clock(ban.placedAt)}</td>
                  <td>{clock(ban.until)}</td>
                  <td>
                    <code>{short(ban.placedBy)}</code>
                  </td>
                  <td class="steps">
                    <button type="button" class="quiet" aria-label={`Lift the ban on ${plain(ban.value)}`} onClick={() => wish({ what: 'lift', ban })}>
                      Lift
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {data && data.total > data.bans.length && <p class="soft">and {count(data.total - data.bans.length, 'more ban')}: /admin/api/bans lists all.</p>}
    </section>
  );
}
