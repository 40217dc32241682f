// Drives Debian's Chromium: one line of JSON in, one out (tests/support/browser.py).
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const { executablePath, rules } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', `--host-resolver-rules=${rules}`],
});
let context;
let page;

const commands = {
  // A browser without any cookie.
  async fresh() {
    await context?.close();
    context = await browser.newContext({ ignoreHTTPSErrors: true });
    page = await context.newPage();
    page.setDefaultTimeout(20_000);
  },
  async open({ url }) {
    const answer = await page.goto(url);
    return { ...(await here()), status: answer?.status() ?? 0 };
  },
  // The provider's forms: login, then consent.
  async signIn({ login }) {
    await page.fill('input[name=login]', login);
    await page.fill('input[name=password]', 'any');
    await page.click('button[type=submit]');
    await page.click('button[type=submit]');
    return here();
  },
  async signOut() {
    await page.click('button[name=logout]');
    return here();
  },
  async cookies() {
    return (await context.cookies()).map(({ name, value, domain, httpOnly, secure, sameSite }) => ({ name, value, domain, httpOnly, secure, sameSite }));
  },
  async addCookies({ cookies }) {
    await context.addCookies(cookies);
  },
  async forget({ name }) {
    await context.clearCookies({ name });
  },
  // What a script of the page sees of its cookies, and of an answer that it fetches.
  async scripted({ path }) {
    return page.evaluate(async (asked) => {
      const answer = await fetch(asked, { redirect: 'manual' });
      return { cookie: document.cookie, status: answer.status, text: await answer.text() };
    }, path);
  },
  async screenshot({ path }) {
    await page.screenshot({ path, fullPage: true });
  },
};

async function here() {
  await page.waitForLoadState();
  return { url: page.url(), title: await page.title(), text: await page.innerText('body') };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await commands[command](given)) ?? null };
  } catch (error) {
    answer = { error: `${command} at ${page?.url()}: ${error.message}` };
  }
  console.log(JSON.stringify(answer));
}
await browser.close();
