// What every page does beside its charts. Without it everything can still be read, asked and sent.
import { showBusy } from "./busy";
import { followAddress, offerValues } from "./filters";
import { keepFresh } from "./live";
import { offerTiles } from "./sparks";
import { showTips } from "./tips";
import { workOut } from "./work";

followAddress();
offerValues();
showBusy();
showTips();
keepFresh();
workOut();
offerTiles();
document.addEventListener("dropoff:shown", offerTiles);
