// AlignmentExplorer: the weights of aligners between the words of a sentence pair, and the links that people drew.

import { maps as build } from "../js/maps.js";

const unnamed = "Your own choice";
const hint = "Step through the target words: where do the darkest cell and the circles part?";

export default { build, unnamed, hint, inSight: true };
