// Refused messages: a filter that needs no button, and a list that stays current.

import { keepFresh } from "./live.js";
import "./sieve.js";

keepFresh(10);
