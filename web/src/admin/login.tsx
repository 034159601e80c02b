// The login with ADMIN_TOKEN, or the reason why there is none.
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
          This hub has no <code>ADMIN_TOKEN</code>, so nobody can log in. It shows this page only to its own machine, or at
          the address in <code>ADMIN_ADDR</code>.
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
      <p class="soft">The page sends the token to this hub once, and gets a cookie. No script can read the cookie, and it is valid for twelve hours.</p>
    </section>
  );
}
