// A dialog that asks before an action that cannot be undone. It has the focus until the operator answers. Escape means no.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { whyNot } from './api';

interface Props {
  title: string;
  /** The label of the button that means yes. */
  yes: string;
  /** The action. If it throws, the dialog shows the error and stays open. */
  act: () => Promise<unknown>;
  close: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, yes, act, close, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  useEffect(() => dialog.current?.showModal(), []);
  // When the dialog closes, the browser gives the focus back to the element that had it before.
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
