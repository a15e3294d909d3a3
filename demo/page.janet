###
### The HTML of the first page and of the guest book.
###

(import ./html)
(import ./panels)

(defn- time-of
  "The time of an entry, a number, in UTC. The script shows it as it is where the visitor lives."
  [at]
  (def {:year year :month month :month-day day :hours hours :minutes minutes} (os/date at))
  (def text (string/format "%d-%02d-%02d %02d:%02d" year (inc month) (inc day) hours minutes))
  (string `<time datetime="` text `Z">` text " UTC</time>"))

(defn entry
  "An entry, for the page and for the pages that are open."
  [{:id id :name name :text text :at at :picture picture}]
  (string
    `<li id="entry-` id `"><article>`
    `<p class="text">` (html/escape text) "</p>"
    (if picture
      (string `<img src="/pictures/` (html/escape picture) `" alt="A picture from ` (html/escape name) `" loading="lazy">`)
      "")
    `<p class="by"><strong>` (html/escape name) `</strong> <a href="/entries/` id `">` (time-of at)
    "</a></p></article></li>\n"))

(defn one-entry
  "The page of one entry."
  [shown]
  (html/whole (string "An entry by " (shown :name))
         `<main class="message"><h1>Guest book</h1><ol class="entries">` (entry shown)
         `</ol><p><a href="/">All entries</a></p></main>`))

(def- header
  ```
  <header>
  <p class="brand">kqnet <span id="live" class="needs-script" data-state="connecting">connecting</span></p>
  <h1>A Janet server you can watch</h1>
  <p class="lead">kqnet is an HTTP server for <a href="https://janet-lang.org">Janet</a>, and serves this page. Send a burst of clients to
  Janet’s own server and to kqnet’s, and see what becomes of them. A second window shows the same, as it happens.</p>
  </header>
  ```)

(def- footer
  ```
  <footer><p>All that you see comes from this one server, and nothing from elsewhere. Its code is in the folder <code>demo/</code>;
  its statistics for Prometheus are at <a href="/metrics">/metrics</a>.</p></footer>
  ```)

(def- form-start
  ```
  <form id="sign" action="/entries" method="post" enctype="multipart/form-data">
  <label for="name">Your name</label>
  <input id="name" name="name" maxlength="40" required autocomplete="nickname"
  ```)

(def- form-end
  ```
  <label for="text">Your words</label>
  <textarea id="text" name="text" rows="2" maxlength="1000" required></textarea>
  <label for="picture">A picture, if you like <small>(PNG, JPEG, GIF or WebP, up to 256 KB)</small></label>
  <input id="picture" name="picture" type="file" accept="image/png,image/jpeg,image/gif,image/webp">
  <div class="row"><button>Sign the book</button> <span id="writing" role="status"></span></div>
  </form>
  ```)

(defn- book
  "The guest book with its form. `name` is what the visitor is called."
  [entries newest-id name]
  (string
    `<section id="book" class="card" aria-labelledby="book-title">`
    `<h2 id="book-title">Guest book</h2>`
    `<p class="lead">What you write appears at once on every page that is open.</p>`
    form-start ` value="` (html/escape name) `">` "\n" form-end
    `<p class="empty">Nobody has written anything yet.</p>`
    `<ol id="entries" class="entries" data-newest="` newest-id `">` "\n"
    ;(map entry entries)
    "</ol></section>\n"))

(defn front
  ``The first page. `bursts` is the state of the two servers, or nil if `why-not` says why there are none. The other arguments are
  those of the guest book.``
  [bursts why-not entries newest-id name]
  (html/whole "kqnet at work"
              `<script type="module" src="/assets/script.js"></script>`
              header
              "\n<main>\n"
              (panels/bursts bursts why-not)
              panels/server
              (book entries newest-id name)
              "</main>\n"
              footer))
