###
### The version of kqnet is the same wherever it is written.
###

(import ./support :as t)
(import kqnet)

(defn- text [name] (string (slurp (string t/project "/" name))))

(defn- found
  "What a peg captures first in a file. Fails the test if it is not there."
  [name peg]
  (def [value] (or (peg/match peg (text name)) [nil]))
  (t/check value (string "a version in " name)))

(def- number '(* :d+ "." :d+ "." :d+))

(def- version
  "The version in Cargo.toml, from which all others follow."
  (found "Cargo.toml" ~(* (thru "[workspace.package]\nversion = \"") '(* ,number (to "\"")) "\"")))

(def- where "Change it in Cargo.toml and bundle/info.jdn, and type: cargo update --workspace")

(t/test "the bundle and the module have the version of Cargo.toml"
  (t/same version ((parse (text "bundle/info.jdn")) :version) where)
  (t/same version kqnet/version where))

(t/test "jpm's project takes its version from the bundle"
  (t/check (string/find ":version (info :version)" (text "project.janet")) "project.janet"))

(t/test "each crate of the workspace has that version, in its manifest and in Cargo.lock"
  (def lock (text "Cargo.lock"))
  (def crates
    (seq [folder :in ["crates" "dev"] name :in (sort (os/dir (string t/project "/" folder)))
          :let [manifest (string folder "/" name "/Cargo.toml")]
          :when (os/stat (string t/project "/" manifest))
          # It is no part of the workspace, and is never installed.
          :unless (= name "bench-hyper")]
      manifest))
  (t/check (> (length crates) 8) crates)
  (each manifest ["Cargo.toml" ;crates]
    (def name (found manifest '(* (thru "[package]\nname = \"") '(to "\""))))
    # The bindings have the version of the crate that they stand in for.
    (unless (= name "evil-janet")
      (t/check (string/find "version.workspace = true" (text manifest)) manifest)
      (t/check (string/find (string "name = \"" name "\"\nversion = \"" version "\"") lock)
               (string name " in Cargo.lock; " where)))))

(t/test "the newest heading of the changelog is of that version, with its date or as unreleased"
  (def heading (found "CHANGELOG.md" '(* (thru "\n## ") '(to "\n"))))
  (t/check (peg/match ~(* ,version ", " (+ "unreleased" (* :d :d :d :d "-" :d :d "-" :d :d)) -1) heading) heading))

(t/test "each version in the changelog is there once, and they descend"
  (def versions (peg/match ~(any (+ (* "\n## " ':d+ "." ':d+ "." ':d+) 1)) (text "CHANGELOG.md")))
  (def numbers (map |(tuple ;(map scan-number $)) (partition 3 versions)))
  (t/same (reverse (sort (distinct numbers))) numbers))

(t/finish)
