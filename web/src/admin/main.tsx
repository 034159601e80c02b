// The page of operators. Ids, names and reasons are text of others: they go through Preact as text only.
import { render } from 'preact';

import { App } from './app';
import '../style.css';
import './admin.css';

const root = document.getElementById('app');
if (root) render(<App />, root);
