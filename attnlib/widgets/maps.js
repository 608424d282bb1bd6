// Maps: named matrices of weights between two lists of tokens.

import { maps as build } from "./js/maps.js";

const unnamed = "Your own choice";
const hint = "Step through the rows: where does each one look, and do the heads agree?";

export default { build, unnamed, hint, inSight: true };
