// The bundle is committed and compiled into the hub: what is built here has to be the same on every machine.
import { defineConfig } from 'vite';

// `npm run dev` serves the sources, and asks this hub for everything else.
const HUB = process.env.HUB ?? 'http://localhost:8080';
const asked = ['/page.json', '/health', '/stats', '/hubstats', '/ice-servers', '/admin/api'];

export default defineConfig({
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    // Beside the page, and not served: what is bundled asks for its licence to go with it.
    license: { fileName: 'licenses.md' },
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: { input: ['index.html', 'admin.html'] },
  },
  server: {
    proxy: { ...Object.fromEntries(asked.map((path) => [path, HUB])), '/ws': { target: HUB, ws: true } },
  },
});
