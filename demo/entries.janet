###
### The entries of the guest book: in memory, and in a file that a restart reads.
###

(def most
  "How many entries are kept. Older ones make room for new ones."
  100)

(var- folder nil)
(var- kept @[])
(var- lines 0)

(defn- path [& parts] (string folder "/" ;parts))

(defn- line
  "An entry as one line of JDN, Janet's own notation. It writes a line break within a text as \n."
  [entry]
  (string/format "%j\n" entry))

(defn- rewrite
  "Writes all kept entries to a new file, which takes the place of the old one at once."
  []
  (spit (path "entries.jdn.new") (string ;(map line kept)))
  (os/rename (path "entries.jdn.new") (path "entries.jdn"))
  (set lines (length kept)))

(defn- trim
  "Drops the oldest entries and their pictures."
  []
  (while (> (length kept) most)
    (def picture ((first kept) :picture))
    (when picture (protect (os/rm (path "pictures/" picture))))
    (array/remove kept 0)))

(defn- entry?
  [x]
  (match x
    {:id (id (int? id)) :name (name (string? name)) :text (text (string? text)) :at (at (number? at))} true
    false))

(defn open
  "Reads the entries in a folder, which is made if need be. The end of a line may be missing if a crash interrupted it."
  [where]
  (set folder where)
  (each name [folder (path "pictures")] (os/mkdir name))
  (def text (if (os/stat (path "entries.jdn")) (slurp (path "entries.jdn")) ""))
  (set kept (seq [one :in (string/split "\n" text)
                  :let [[read? entry] (protect (parse one))]
                  :when (and read? (entry? entry))]
              entry))
  (trim)
  (rewrite))

(defn pictures
  "The folder of the pictures."
  []
  (path "pictures"))

(defn newest-first [] (reverse kept))

(defn newest-id [] (if (empty? kept) 0 ((last kept) :id)))

(defn after
  "The entries that came after the one with this id, the oldest first."
  [id]
  (filter |(> ($ :id) id) kept))

(defn with-id [id] (find |(= id ($ :id)) kept))

(defn add
  ``Adds an entry. `save-picture` is nil, or a function that saves the entry's picture under the path that it is given, and
  `ending` is how that path ends. Returns the entry.``
  [name text &opt ending save-picture]
  # Saving may let other requests have their turns, so the picture is named before the entry has its number.
  (def picture
    (if save-picture
      (string (string/join (map |(string/format "%02x" $) (os/cryptorand 8))) ending)))
  (when picture (save-picture (path "pictures/" picture)))
  (def entry {:id (inc (newest-id)) :name name :text text :at (os/time) :picture picture})
  (array/push kept entry)
  (with [file (file/open (path "entries.jdn") :abn)]
    (file/write file (line entry)))
  (++ lines)
  (trim)
  (when (> lines (* 2 most)) (rewrite))
  entry)
