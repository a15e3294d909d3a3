###
### The HTML of the two panels beside the guest book: the bursts to two servers, and the statistics of this one.
###

(import ./bursts :as b)
(import ./html)

(defn- rules
  "Whose kqueue decides, in words."
  [kernel]
  (case kernel
    "xnu" "under the rules of macOS’s kqueue, which this machine emulates"
    "macos" "on this Mac"
    (string "on " kernel)))

(defn- side
  "One of the two servers. The script fills in the same places when something changes."
  [kind title below state]
  (string
    `<article class="side" data-side="` kind `" data-stalled="` (state "stalled") `" aria-labelledby="` kind `-title">`
    `<h3 id="` kind `-title">` title `</h3><p class="below">` below `</p>`
    `<p class="score"><b data-is="answered">` (state "answered") `</b> of <span data-is="sent">` (state "sent") `</span> answered</p>`
    `<div class="dots" aria-hidden="true"></div>`
    `<p class="words" data-is="words">` (html/escape (state "words")) `</p>`
    `<p class="more"><span data-is="batches">` (or (state "batches") "") `</span></p>`
    `<p class="try"><a data-is="link" href="http://127.0.0.1:` (state "port") `/" target="_blank" rel="noreferrer">Visit this server</a></p>`
    "</article>\n"))

(def- explanation
  (string
    "<h3>What you see</h3>\n"
    "<p>While a server is busy, its new clients wait in the kernel, in the backlog, and the kernel reports one event for all of them. "
    "<strong>Janet’s own loop</strong> accepts one client for each event. Before Janet 1.38, the listening socket is registered with "
    "<code>EV_CLEAR</code>, and macOS then reports no further event for those who still wait. The server sleeps, and they wait until "
    "somebody else connects: then the first of them is served, and the newcomer waits instead. To a visitor, it is a page that "
    "hangs.</p>\n"
    "<p><strong>kqnet</strong> accepts clients until nobody waits, in batches, and before it sleeps it has the kernel look at the "
    "backlog again. Send a few bursts, and then visit both servers. "
    `The <a href="/kqueue.md">notes on kqueue</a> have the details, kernel by kernel.</p>` "\n"))

(defn- button
  "A form of one button, which works without a script, too."
  [path text kind disabled]
  (string `<form action="` path `" method="post"><button class="` kind `"` (if disabled ` aria-disabled="true"` "") `>` text "</button></form>"))

(defn bursts
  "The panel of the two servers. `state` is that of bursts.janet, or nil, and then `why-not` says why there are none."
  [state why-not]
  (string
    `<section id="bursts" class="card" aria-labelledby="bursts-title">`
    "<h2 id=\"bursts-title\">One burst, two servers</h2>\n"
    (if state
      (let [{"version" version "kernel" kernel} (state "core")]
        (string
          `<p class="lead">Two small servers run the same handler on Janet ` (html/escape version) ", " (rules kernel)
          ". Each is kept busy for 0.4 seconds, and in that time " b/clients " clients connect to it.</p>\n"
          `<div class="row">`
          (button "/bursts" (string "Send " b/clients " clients to each") "first" (or (state "running") (state "full")))
          (button "/bursts/restart" "Start both again" "second" (state "running"))
          "</div>\n"
          `<div class="pair">`
          (side "core" "Janet’s own <code>net/server</code>" "takes one client per event" (state "core"))
          (side "kqnet" "<code>kqnet/server</code>" "takes everybody who waits" (state "kqnet"))
          "</div>\n"
          `<p id="verdict" role="status">` (html/escape (state "verdict")) "</p>\n"))
      (string `<p class="lead">Here, a burst of clients would connect to Janet’s own <code>net/server</code> and to kqnet, side by side. `
              "The two servers are missing: " (html/escape why-not) ".</p>\n"))
    explanation
    "</section>\n"))

(defn- chart [name title below]
  (string
    `<figure data-chart="` name `"><figcaption>` title `</figcaption>`
    `<p class="now"><b>–</b> <span></span></p>`
    `<svg viewBox="0 0 240 56" preserveAspectRatio="none" aria-hidden="true"><path class="area"/><path class="line"/></svg>`
    `<p class="below">` below `</p></figure>`))

(defn- total [name title]
  (string `<div><dt>` title `</dt><dd data-is="` name `">–</dd></div>`))

(def server
  "The panel of the statistics, which only a script can fill."
  (string
    `<section id="server" class="card needs-script" aria-labelledby="server-title">`
    "<h2 id=\"server-title\">This server, now</h2>\n"
    `<div class="charts">`
    (chart "requests" "Requests per second" "the last minute")
    (chart "active" "Open connections" "the last minute, up to 256 at once")
    (chart "batch" "Clients per batch" "how many were waiting each time the server looked")
    "</div>\n"
    `<dl id="totals">`
    (total "readers" "open pages")
    (total "accepted" "connections")
    (total "requests" "requests")
    (total "largest" "largest batch")
    (total "full" "pauses at the limit")
    (total "short" "pauses in a shortage")
    (total "aborted" "gone before accepted")
    (total "up" "running for")
    "</dl>\n"
    `<div class="row"><button id="crowd" class="first">400 clients at once</button>`
    `<button id="requests" class="second">300 browser requests</button></div>`
    `<div id="answers" class="dots" aria-hidden="true"></div>`
    `<p id="outcome" role="status">This server takes 256 clients at a time. Of 400, some have to wait in the backlog, and nobody is turned away.</p>`
    "\n</section>\n"))
