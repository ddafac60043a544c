// Reads a manifest with our annotation pages by @iiif/parser, and prints what it writes back.
import { readFileSync } from "node:fs";
import { normalize, serialize, serializeConfigPresentation3 } from "@iiif/parser";

const manifest = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { entities, resource } = normalize(manifest);
const written = serialize({ entities, mapping: {}, requests: {} }, resource,
  serializeConfigPresentation3);
console.log(JSON.stringify(written));
