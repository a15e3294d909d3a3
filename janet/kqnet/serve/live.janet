###
### In a worker under `kqnet-serve --live`: pages that load themselves again when the program or its files have changed.
###
### An HTML page gets a script. It listens to an event stream of this module, on which a worker says who it is, what the
### supervisor has told it, and, by ending, that there is another worker.
###

(import ../_native :as native)
(import ../http/events)
(import ../http/log)
(import ../http/response)

(def- variable
  ``The variable with the descriptor of the board on which the supervisor writes what pages should know: a number that grows with each
  change of a file that is not part of the program, and after a line's end the error of a version that did not start.``
  "KQNET_LIVE")

# It belongs to the process and not to this module, since a module in an executable is loaded when that is built.
(def- state "The board under :board, or false if there is none, or nil until that is known." @{:board nil})

(defn- join-board
  "Returns the supervisor's board, or false. Removes the variable, so that no child process takes the descriptor for its own."
  []
  (if-let [number (scan-number (os/getenv variable ""))]
    (do
      (os/setenv variable nil)
      (try
        (native/join-board number)
        ([err]
          (native/say (string "kqnet: pages do not load themselves again: " err))
          false)))
    false))

(defn- board
  []
  (when (nil? (state :board))
    (put state :board (join-board)))
  (state :board))

(def- path "/.kqnet/live")

(def- script
  ```
  <script>(() => {
    let first;
    const source = new EventSource("/.kqnet/live");
    source.addEventListener("version", ({data}) => {
      if (first !== undefined && first !== data) location.reload();
      first = data;
    });
    source.addEventListener("problem", ({data}) => {
      let shown = document.getElementById("kqnet-problem");
      if (!data) return shown && shown.remove();
      if (!shown) {
        shown = document.body.appendChild(document.createElement("pre"));
        shown.id = "kqnet-problem";
        shown.setAttribute("role", "alert");
        shown.style.cssText = "position:fixed;inset:auto 0 0 0;margin:0;padding:1em;max-height:60vh;overflow:auto;" +
          "background:#7f1d1d;color:#fff;font:14px/1.4 monospace;white-space:pre-wrap;z-index:2147483647";
      }
      shown.textContent = data;
    });
  })()</script>
  ```)

(defn- read-board
  "Returns the number and the error on the supervisor's board, or nil while they are being changed."
  [board]
  (when-let [text (native/read-board board)]
    (def [number problem] (string/split "\n" text 0 2))
    [number (or problem "")]))

(defn- tell-page
  "Answers a page's event stream."
  [board identity req]
  (events/events
    req
    (fn [send]
      (var told nil)
      (var problem "")
      (forever
        (def [number now] (or (read-board board) [told problem]))
        (unless (= number told)
          (set told number)
          (send {:event "version" :data (string identity "." number)}))
        (unless (= now problem)
          (set problem now)
          (send {:event "problem" :data now}))
        (ev/sleep 0.25)))
    :retry 0.2))

(defn- header
  "The value of a header of a response, which may have its name in any case."
  [headers name]
  (get (find (fn [[given]] (= name (string/ascii-lower given))) (pairs (or headers {}))) 1))

(defn- html?
  "Whether a response is HTML that can be added to."
  [{:status status :headers headers}]
  (def kind (header headers "content-type"))
  (and (not (has-value? [204 205 206 304] status))
       (bytes? kind) (string/has-prefix? "text/html" (string/ascii-lower kind))
       (nil? (header headers "content-encoding"))))

(def- beginning-of-page
  "How a whole page begins in small letters, unlike a part of one that a script puts into a page."
  (peg/compile
    ~{:skipped (+ :s "\xEF\xBB\xBF" (* "<!--" (thru "-->")) (* "<?" (thru ">")))
      :main (* (any :skipped) "<" (+ "!doctype" (* (+ "html" "head" "body") (not :w))))}))

(defn- asks-for-page?
  ``Whether a request is for a page, by what the browser says, or nil if that cannot be told. Libraries such as htmx ask for parts of
  pages, and what they put into a page must not start its script once more.``
  [{:headers headers}]
  (if-let [destination (in headers "sec-fetch-dest")]
    (truthy? (has-value? ["document" "iframe" "frame"] destination))
    (if (some |(in headers $) ["hx-request" "x-requested-with" "turbo-frame" "x-pjax"]) false)))

(defn- with-script
  "Returns a body, which may come in pieces, with the script at its end if it is a page."
  [body for-page?]
  (defn page? [piece] (if (nil? for-page?) (truthy? (peg/match beginning-of-page (string/ascii-lower piece))) for-page?))
  (if (bytes? body)
    (if (page? body) (string body script) body)
    (coro
      (var known nil)
      (defer (response/drop-body body "the client is gone")
        (each piece body
          (when (and (nil? known) (bytes? piece) (not (empty? (string/trim piece)))) (set known (page? piece)))
          (yield piece)))
      (when known (yield script)))))

(defn- changed-headers
  "Returns headers that also fit a page with the script, whose length is another one, and which is never taken from a cache."
  [headers]
  (def out (merge headers))
  (each name (keys headers)
    (when (has-value? ["cache-control" "content-length" "etag" "last-modified"] (string/ascii-lower name))
      (put out name nil)))
  (put out "Cache-Control" "no-store"))

(defn- live-response
  "Returns the response with the script in its page, if it has one. HEAD gets the headers that GET gets."
  [{:method method} for-page? response]
  (def {:body body :headers headers} (if (dictionary? response) response {}))
  (defn changed [body] (merge response {:body body :headers (changed-headers headers)}))
  (cond
    (or (= false for-page?) (not (has-value? ["GET" "HEAD"] method)) (not (dictionary? response)) (not (html? response)))
    response
    # Its pieces are not sent.
    (and body (= "HEAD" method) (not (bytes? body)))
    (changed body)
    body
    (let [with-script (with-script body for-page?)]
      (if (= with-script body) response (changed with-script)))
    # The length of what GET would get, without the script. A body of unknown length has none.
    (and (= "HEAD" method) (header headers "content-length"))
    (changed (coro (yield script)))
    response))

(defn- without-conditions
  "Removes what would have the browser go on with a page from its cache, which may not have the script."
  [{:headers headers}]
  (each name ["if-none-match" "if-modified-since"] (put headers name nil)))

(defn wrap
  ``Returns a handler that also serves the script's event stream and adds the script to pages, if the supervisor wants that, or
  else the handler itself. `identity` is what tells this worker from others.``
  [handler identity]
  (if-let [board (board)]
    (log/wrap
      (fn live [req]
        (if (= path (req :route))
          (tell-page board identity req)
          (let [for-page? (asks-for-page? req)]
            (when for-page? (without-conditions req))
            (live-response req for-page? (handler req)))))
      handler)
    handler))
