// Ten thousand visitors of one page in two seconds, with k6: what the shield is for (docs/shield.md).
//
//   k6 run -e URL=https://launch.tunnels.example.com/ examples/load/launch.js
//
// Passes if every visitor got the page. How many requests reached the app is in its own log, and in the exit nodes' metric
// hawse_tunnel_shield_requests_total{result="miss"}: at most 2 for each exit node if the page is fresh for 2 s or more.
import { check } from "k6";
import http from "k6/http";
import { Counter } from "k6/metrics";

const url = __ENV.URL;
if (!url) {
  throw new Error("say which page: -e URL=https://…");
}
const fetched = new Counter("fetched_from_the_app");

export const options = {
  scenarios: {
    launch: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 5000),
      timeUnit: "1s",
      duration: __ENV.DURATION || "2s",
      preAllocatedVUs: Number(__ENV.VISITORS || 1000),
      maxVUs: 10000,
      gracefulStop: "30s",
    },
  },
  thresholds: {
    checks: ["rate==1"],
    dropped_iterations: ["count==0"],
  },
  insecureSkipTLSVerify: __ENV.INSECURE === "1",
  discardResponseBodies: true,
};

export default function () {
  const answer = http.get(url);
  check(answer, { "the page": (it) => it.status === 200 });
  const said = String(answer.headers["Cache-Status"]);
  if (said.endsWith("fwd=miss") || said.endsWith("fwd=bypass") || said.includes("fwd-status=304")) {
    fetched.add(1);
  }
}
