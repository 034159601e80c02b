// The operator's page. Ids, names and reasons are text of others: Preact shows them as text, never as markup.
import { render } from 'preact';

import { App } from './app';
import '../style.css';
import './admin.css';

const root = document.getElementById('app');
if (root) render(<App />, root);
