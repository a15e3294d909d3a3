###
### The tree in which a request's path is looked up: its cost depends on the path's segments, not on the number of routes.
###
### A node stands for a position in a path. It has the nodes behind each literal segment, the node behind a parameter, the
### leaf of a wildcard, and the leaf of the paths that end here. A leaf has the endpoints of one shape of path by method.
###

(import ./route-pattern :as pattern)

(defn- new-node [] @{:literals @{}})

(defn- new-leaf [] @{:endpoints @{}})

(defn- made
  "Returns the value of a key, which is made if it is missing."
  [dictionary key make]
  (or (in dictionary key)
      (let [value (make)]
        (put dictionary key value)
        value)))

(defn- shape
  "A pattern's segments without the names of parameters."
  [segments]
  (map |(if (tuple? $) (first $) $) segments))

(defn- leaf-of
  "Returns the leaf for these segments, which it makes if it is missing."
  [root segments]
  (var node root)
  (var leaf nil)
  (each segment (shape segments)
    (case segment
      :wildcard (set leaf (made node :wildcard new-leaf))
      :parameter (set node (made node :parameter new-node))
      (set node (made (in node :literals) segment new-node))))
  (or leaf (made node :leaf new-leaf)))

(defn- frozen-leaf [leaf]
  (if leaf [(table/to-struct (in leaf :endpoints)) (in leaf :first)]))

(defn- frozen
  "Makes tuples of a node and all below it."
  [node]
  [(table/to-struct (tabseq [[segment child] :pairs (in node :literals)] segment (frozen child)))
   (if-let [child (in node :parameter)] (frozen child))
   (frozen-leaf (in node :wildcard))
   (frozen-leaf (in node :leaf))])

(defn build
  ``Makes the tree of `routes`, tuples of a method (a string or :any), a pattern, the pattern's segments and an endpoint.
  Calls `conflict` with the two routes when they have the same method and shape. Returns three things: the endpoints by
  method, by path, of the patterns without parameters, which need no search; the node of the root; and its depth.``
  [routes conflict]
  (def root (new-node))
  (def exact @{})
  (def seen @{})
  (var depth 0)
  (each route routes
    (def [method path segments endpoint] route)
    (set depth (max depth (length segments)))
    (def leaf (leaf-of root segments))
    (def endpoints (in leaf :endpoints))
    (when-let [other (get-in seen [endpoints method])] (conflict other route))
    (put-in seen [endpoints method] route)
    (put endpoints method endpoint)
    (unless (in leaf :first) (put leaf :first endpoint))
    # These need not be taken apart. The other spellings of the same path go through the tree.
    (unless (some tuple? segments)
      (put exact path leaf)))
  [(table/to-struct (tabseq [[path leaf] :pairs exact] path (in (frozen-leaf leaf) 0))) (frozen root) depth])

(defn- endpoint
  ``Returns the endpoint of a leaf for a method. If there is none, adds the leaf to `others`, with the values of its
  parameters.``
  [leaf method values others]
  (when leaf
    (def endpoints (in leaf 0))
    (or (in endpoints method)
        (if (= method "HEAD") (in endpoints "GET"))
        (in endpoints :any)
        (do (array/push others [leaf (tuple/slice values)]) nil))))

(defn- search
  "Returns the endpoint below a node for the segments from `at` on. No node is visited twice."
  [node at encoded decoded method values others]
  (if (= at (length decoded))
    (endpoint (in node 3) method values others)
    (do
      (def segment (in decoded at))
      (def literal (in (in node 0) segment))
      (var found (if literal (search literal (inc at) encoded decoded method values others)))
      (unless found
        (def parameter (in node 1))
        (def wildcard (in node 2))
        (when (and parameter (pattern/parameter? segment))
          (array/push values segment)
          (set found (search parameter (inc at) encoded decoded method values others))
          (unless found (array/pop values)))
        (when (and wildcard (not found))
          (when-let [rest (pattern/rest-of-path (string/join (array/slice encoded at) "/"))]
            (array/push values rest)
            (set found (endpoint wildcard method values others))
            (unless found (array/pop values)))))
      found)))

(defn find-endpoint
  ``Looks up a method and a path below the node of the root. Literal segments are tried before parameters, and those before
  wildcards. Returns the endpoint, or nil. The values of its parameters are added to `values`. Leaves that match the path,
  but not the method, are added to `others`, with their values.``
  [root depth method path values others]
  (when (= (chr "/") (get path 0))
    # The first piece is the empty one before the slash. The last piece is what lies deeper than any literal or parameter,
    # so that a long path costs no more.
    (def encoded (string/split "/" path 0 (+ 2 depth)))
    (def decoded
      (if (string/find "%" path)
        (map |(if (string/find "/" $) false (or (pattern/decode $) false)) encoded)
        encoded))
    (search root 1 encoded decoded method values others)))
