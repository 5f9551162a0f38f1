// The page of one version of a model of rows: its charts.

import "./charts.js";
