// The first steps of a visit to the operator's page, which all its stories share.

export const TOKEN = 'for-operators-alone';

/** Chooses a view by its tab. */
export const view = (page, name) => page.getByRole('tab', { name, exact: true }).click();

export async function enter(page) {
  await page.getByLabel('ADMIN_TOKEN').fill(TOKEN);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('tab', { name: 'Mesh' }).waitFor();
}
