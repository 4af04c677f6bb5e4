// Checks an AsyncAPI document: `node check.mjs MODULES DOCUMENT`, where the folder MODULES has the installed package.json.
//
// The parser validates the document and its references; each example is validated with its message's schema. Exit 1 where the
// parser reports anything, a message has no example, or an example is invalid.

import { createRequire } from 'node:module';
import path from 'node:path';

const [modules, file] = process.argv.slice(2);
const require = createRequire(path.resolve(modules, 'package.json'));
const { Parser, fromFile } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const { document, diagnostics } = await fromFile(new Parser(), file).parse();
const found = diagnostics.map(({ code, message, range }) => `line ${range.start.line + 1}: ${message} (${code})`);

let examples = 0;
for (const message of document?.allMessages() ?? []) {
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true })).addFormat('uint64', true);
  const validate = ajv.compile(withoutMarks(message.payload().json()));
  if (message.examples().length === 0) found.push(`${message.name()} has no example`);
  for (const example of message.examples()) {
    examples += 1;
    if (!validate(example.payload())) {
      found.push(`${message.name()}, example ${example.name()}: ${ajv.errorsText(validate.errors)}`);
    }
  }
}

// The parser adds extensions of its own to the schemas.
function withoutMarks(schema) {
  return JSON.parse(JSON.stringify(schema), (key, value) => (key.startsWith('x-parser-') ? undefined : value));
}

for (const sentence of found) console.error(`${file}: ${sentence}`);
console.log(`${file}: ${document?.allMessages().length ?? 0} messages, ${examples} examples`);
process.exit(found.length > 0 || examples === 0 ? 1 : 0);
