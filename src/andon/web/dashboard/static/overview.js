// The overview keeps itself current.

import { keepFresh } from "./live.js";

keepFresh(4);
