// A question before something is done that cannot be taken back. It has the focus until it is answered; Escape says no.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { whyNot } from './api';

interface Props {
  title: string;
  /** What the button that says yes is called. */
  yes: string;
  /** Does it; what it throws is shown, and the question stays. */
  act: () => Promise<unknown>;
  close: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, yes, act, close, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => dialog.current?.showModal(), []);
  // However it is closed, the browser gives the focus back to where it was.
  const over = () => dialog.current?.close();
  const go = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setTrouble(null);
    try {
      await act();
      over();
    } catch (error) {
      setTrouble(whyNot(error));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={close}>
      <form class="stacked" onSubmit={go}>
        <h2 id="dialog-title">{title}</h2>
        {children}
        {trouble && (
          <p class="trouble" role="alert">
            {trouble}
          </p>
        )}
        <div class="answers">
          <button type="button" onClick={over}>
            Cancel
          </button>
          <button type="submit" class="danger" disabled={busy}>
            {yes}
          </button>
        </div>
      </form>
    </dialog>
  );
}
