// Prints what the Khronos validator says of the files that are named: node validate_gltf.cjs FOLDER FILE...
// FOLDER holds node_modules/gltf-validator.
const fs = require('fs');
const path = require('path');
const validator = require(path.join(path.resolve(process.argv[2]), 'node_modules', 'gltf-validator'));

async function main() {
  const reports = {};
  for (const file of process.argv.slice(3)) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)), { uri: path.basename(file) });
    reports[path.basename(file)] = report;
  }
  console.log(JSON.stringify(reports));
}

main();
