// The page of a hub. What is shown of others (ids, regions, messages) is their text: it goes through Preact as text only.
import { render } from 'preact';

import { App } from './app';
import './style.css';

const root = document.getElementById('app');
if (root) render(<App />, root);
