// The traffic panel of one version, which keeps itself current.

import { keepFresh } from "./live.js";
import "./traffic.js";

keepFresh(5);
