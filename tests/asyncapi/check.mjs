// Checks an AsyncAPI document: `node check.mjs MODULES DOCUMENT SAMPLES`, where the folder MODULES has the installed package.json,
// and the folder SAMPLES has sample events of rows.
//
// The parser validates the document and its references; each example is validated with its message's schema, and each record of
// the samples with the messages of its format. Exit 1 where the parser reports anything, a message has no example, or an example
// or a record is invalid.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

// The messages of each file of samples.
const OF_SAMPLES = {
  'debezium.json': ['debeziumChange', 'debeziumChangeWithSchema', 'tombstone'],
  'debezium-flattened.json': ['debeziumRow', 'tombstone'],
  'dms.json': ['dmsChange'],
  'dynamodb.json': ['dynamodbChange'],
};

const [modules, file, folder] = process.argv.slice(2);
const require = createRequire(path.resolve(modules, 'package.json'));
const { Parser, fromFile } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const { document, diagnostics } = await fromFile(new Parser(), file).parse();
const found = diagnostics.map(({ code, message, range }) => `line ${range.start.line + 1}: ${message} (${code})`);

let examples = 0;
const validators = {};
for (const message of document?.allMessages() ?? []) {
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true })).addFormat('uint64', true);
  const validate = ajv.compile(withoutMarks(message.payload().json()));
  validators[message.name()] = validate;
  if (message.examples().length === 0) found.push(`${message.name()} has no example`);
  for (const example of message.examples()) {
    examples += 1;
    if (!validate(example.payload())) {
      found.push(`${message.name()}, example ${example.name()}: ${ajv.errorsText(validate.errors)}`);
    }
  }
}

let records = 0;
for (const name of fs.existsSync(folder) ? fs.readdirSync(folder).filter((name) => name.endsWith('.json')) : []) {
  const messages = OF_SAMPLES[name];
  if (!messages) found.push(`${name} is a sample of no message`);
  for (const record of JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')).Records) {
    records += 1;
    const data = Buffer.from(record.kinesis.data, 'base64').toString();
    const payload = data === '' ? null : JSON.parse(data);
    if (messages && !messages.some((message) => validators[message](payload))) {
      found.push(`${name}: no message describes the record of the key ${record.kinesis.partitionKey}`);
    }
  }
}

// The parser adds extensions of its own to the schemas.
function withoutMarks(schema) {
  return JSON.parse(JSON.stringify(schema), (key, value) => (key.startsWith('x-parser-') ? undefined : value));
}

for (const sentence of found) console.error(`${file}: ${sentence}`);
console.log(`${file}: ${document?.allMessages().length ?? 0} messages, ${examples} examples, ${records} samples`);
process.exit(found.length > 0 || examples === 0 ? 1 : 0);
