###
### In a worker under `kqnet-serve --live`: pages that load themselves again when the program or its files have changed.
###
### An HTML page gets a script. It listens to an event stream of this module, on which a worker says who it is, what the
### supervisor has told it, and, by ending, that there is another worker.
###

(import ../http/events)
(import ../http/log)

(def- variable
  ``The variable with the path of the file in which the supervisor writes what pages should know: a number that grows with each
  change of a file that is not part of the program, and after a line's end the error of a version that did not start.``
  "KQNET_LIVE")

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

(defn- read-file
  "Returns the number and the error in the supervisor's file."
  [file]
  (def [read? text] (protect (slurp file)))
  (def [number problem] (string/split "\n" (if read? text "") 0 2))
  [number (or problem "")])

(defn- tell-page
  "Answers a page's event stream."
  [file identity req]
  (events/events
    req
    (fn [send]
      (var told nil)
      (var problem "")
      (forever
        (def [number now] (read-file file))
        (unless (= number told)
          (set told number)
          (send {:event "version" :data (string identity "." number)}))
        (unless (= now problem)
          (set problem now)
          (send {:event "problem" :data now}))
        (ev/sleep 0.25)))
    :retry 0.2))

(defn- html?
  [{:status status :headers headers :body body}]
  (def entry (find (fn [[name]] (= "content-type" (string/ascii-lower name))) (pairs (or headers {}))))
  (and body (not= status 206) entry (bytes? (entry 1)) (string/has-prefix? "text/html" (string/ascii-lower (entry 1)))
       (not (some |(= "content-encoding" (string/ascii-lower $)) (keys headers)))))

(defn- with-script
  "Returns a response with the script at the end of its page."
  [response]
  (def body (response :body))
  (def headers (merge (response :headers)))
  (each name (keys headers)
    (when (has-value? ["cache-control" "content-length" "etag" "last-modified"] (string/ascii-lower name))
      (put headers name nil)))
  (merge response {:body (if (bytes? body) (string body script) (coro (each piece body (yield piece)) (yield script)))
                   :headers (merge headers {"Cache-Control" "no-store"})}))

(defn wrap
  ``Returns a handler that also serves the script's event stream and adds the script to pages, if the supervisor wants that, or
  else the handler itself. `identity` is what tells this worker from others.``
  [handler identity]
  (if-let [file (os/getenv variable)]
    (log/wrap
      (fn live [req]
        (if (= path (req :route))
          (tell-page file identity req)
          (let [response (handler req)]
            (if (and (dictionary? response) (= "GET" (req :method)) (html? response)) (with-script response) response))))
      handler)
    handler))
