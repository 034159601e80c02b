// A text with a button that copies it.
import { useEffect, useState } from 'preact/hooks';

const SAYS_SO_FOR_MS = 2_000;

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [outcome, setOutcome] = useState<'' | 'Copied' | 'Select it and copy'>('');
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(''), SAYS_SO_FOR_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = async () => setOutcome((await tryCopy(text)) ? 'Copied' : 'Select it and copy');
  return (
    <button type="button" class="quiet copy" aria-label={`Copy ${what}`} onClick={copy}>
      <span aria-live="polite">{outcome || 'Copy'}</span>
    </button>
  );
}

/** The clipboard is there on HTTPS and localhost alone; elsewhere the older way has to do. */
async function tryCopy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.readOnly = true;
    area.className = 'offscreen';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

export function Snippet({ text, what }: { text: string; what: string }) {
  return (
    <div class="snippet">
      <pre class={text.includes('\n') ? 'block' : 'line'} tabIndex={0} role="group" aria-label={what}>
        <code>{text}</code>
      </pre>
      <CopyButton text={text} what={what} />
    </div>
  );
}
