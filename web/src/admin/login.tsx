// Who may see what: a login with ADMIN_TOKEN, or why there is none.
import { useState } from 'preact/hooks';

import { login, whyNot, type Session } from './api';

export function Login({ session, entered }: { session: Session; entered: () => void }) {
  const [token, setToken] = useState('');
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const enter = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    try {
      await login(token);
      setToken('');
      entered();
    } catch (error) {
      setTrouble(whyNot(error));
    }
    setBusy(false);
  };
  if (!session.login) {
    return (
      <section class="card narrow">
        <h2>Not from here</h2>
        <p>
          This hub has no <code>ADMIN_TOKEN</code> to log in with. It shows this page to its own machine alone, or at the
          address that <code>ADMIN_ADDR</code> names.
        </p>
      </section>
    );
  }
  return (
    <section class="card narrow" aria-labelledby="login-title">
      <h2 id="login-title">Log in</h2>
      <form class="stacked" onSubmit={enter}>
        <label class="row">
          <span>
            The hub's <code>ADMIN_TOKEN</code>
          </span>
          <input type="password" required autocomplete="current-password" value={token} onInput={(event) => setToken(event.currentTarget.value)} />
        </label>
        {trouble && (
          <p class="trouble" role="alert">
            {trouble}
          </p>
        )}
        <button type="submit" class="primary" disabled={busy}>
          Log in
        </button>
      </form>
      <p class="soft">It is sent to this hub once, for a cookie that no script can read and that is good for twelve hours.</p>
    </section>
  );
}
