"""What docs/compared.md says of its peers, tried: one function a row, on random series, with only the peer installed.

Run ``uv run --no-project --with bt==1.4.1 python benchmarks/peers.py bt``, or with another of the names in ``PEERS``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

Row = Callable[[], object]
DAYS, NAMES = pd.bdate_range("2020-01-01", periods=400), list("abcdef")
RETURNS = pd.DataFrame(np.random.default_rng(1).normal(0.0005, 0.01, (400, 6)), index=DAYS, columns=NAMES)
CLOSES = 100 * (1 + RETURNS).cumprod()


def said_by(call: Callable[[], object]) -> str:
    """What comes out, or the error that does."""
    try:
        return str(call())
    except Exception as error:  # whatever a peer raises is the answer
        return f"{type(error).__name__}: {' '.join(str(error).split())[:90]}"


# --- bt ----------------------------------------------------------------------------------------------------------


def _bt(*steps: Any, children: list[Any] | None = None) -> Any:
    bt = import_module("bt")
    of = bt.Strategy("book", [*steps, bt.algos.Rebalance()], children)
    return bt.run(bt.Backtest(of, CLOSES, progress_bar=False))


def bt_rows() -> dict[str, Row]:
    bt = import_module("bt")
    a = bt.algos
    weights = a.WeighSpecified(a=0.5, b=0.3, c=0.2)

    def bands() -> object:
        made = _bt(a.SelectAll(), weights, a.Or([a.RunOnce(), a.RunIfOutOfBounds(0.05)]))
        traded = made.get_transactions().groupby(level=0).size()
        return f"{len(traded)} dates traded, on each {sorted({*traded})} of 3 securities"

    def target() -> object:
        lags = {"lookback": pd.DateOffset(months=3), "lag": pd.DateOffset(days=1)}
        made = _bt(a.RunAfterDays(100), a.RunMonthly(), a.SelectAll(), a.WeighEqually(), a.TargetVol(0.1, **lags))
        return f"gross {made.get_security_weights().sum(axis=1).iloc[[180, 280]].round(2).tolist()}"

    def switched() -> object:
        rising = pd.DataFrame(True, index=DAYS, columns=NAMES).assign(f=CLOSES["a"] > CLOSES["a"].rolling(20).mean())
        held = _bt(a.RunDaily(), a.SelectWhere(rising), a.WeighEqually()).get_security_weights()["f"]
        return f"held on {(held > 0).mean():.0%} of days, by a signal of one's own"

    def tree() -> object:
        leaves = [
            bt.Strategy(name, [a.RunMonthly(), a.SelectThese(own), a.WeighEqually(), a.Rebalance()])
            for name, own in (("left", NAMES[:3]), ("right", NAMES[3:]))
        ]
        return _bt(a.RunQuarterly(), a.SelectAll(), a.WeighInvVol(), children=leaves).prices.iloc[-1].round(1).to_dict()

    def short() -> object:
        return _bt(a.RunOnce(), a.SelectAll(), a.WeighSpecified(a=1.3, b=-0.3)).get_security_weights().iloc[1].min()

    return {"bands": bands, "volatility target": target, "hedges": switched, "trees": tree, "short weights": short}


# --- cvxportfolio ------------------------------------------------------------------------------------------------


def cvxportfolio_rows() -> dict[str, Row]:
    cvx = import_module("cvxportfolio")
    days = DAYS.tz_localize("UTC")
    returns = RETURNS.set_axis(days).assign(cash=0.0)
    volumes = pd.DataFrame(1e8, index=days, columns=NAMES)
    data = cvx.UserProvidedMarketData(
        returns=returns, volumes=volumes, prices=CLOSES.set_axis(days), cash_key="cash", min_history=pd.Timedelta("50d")
    )
    goal, limits = cvx.ReturnsForecast() - 0.5 * cvx.FullCovariance(), [cvx.LongOnly(), cvx.LeverageLimit(1)]

    def run(policy: Any, last: int = 370, **costs: Any) -> Any:
        simulator = cvx.MarketSimulator(market_data=data, **costs)
        return simulator.backtest(policy, start_time=days[350], end_time=days[last], initial_value=1e6)

    def factors() -> object:
        loads = pd.DataFrame({"x": [0, 0, 0, 1, 1, 1]}, index=NAMES)
        limit = cvx.FactorMaxLimit(loads, pd.Series([0.35], index=["x"]))
        held = run(cvx.SinglePeriodOptimization(goal, [*limits, limit, cvx.NoCash()])).w[NAMES[3:]].sum(axis=1)
        return f"a group with at most 0.35 holds up to {held.max():.4f} as weights drift"

    def untraded() -> object:
        policy = cvx.SinglePeriodOptimization(goal, [*limits, cvx.NoTrade("a", [days[352]])])
        return f"trades in money {run(policy, 355).u['a'].dropna().round(1).tolist()}, none asked for on the third day"

    def several() -> object:
        policy = cvx.MultiPeriodOptimization(goal - cvx.StocksTransactionCost(), limits, planning_horizon=3)
        return f"ran; worth {run(policy, 360).v.iloc[-1]:,.0f}"

    def costs() -> object:
        of = [cvx.StocksTransactionCost(), cvx.StocksHoldingCost()]
        plain, charged = (run(cvx.Uniform(), costs=each).v.iloc[-1] for each in ([], of))
        return f"uniform weights over 20 days cost {plain - charged:,.0f} of a million"

    def liquidity() -> object:
        thin = cvx.UserProvidedMarketData(
            returns=returns, volumes=volumes / 100, prices=CLOSES.set_axis(days), cash_key="cash"
        )
        simulator = cvx.StockMarketSimulator(market_data=thin, costs=[], cash_key="cash", round_trades=False)
        first = simulator.backtest(cvx.Uniform(), start_time=days[350], end_time=days[352], initial_value=1e6).u
        return f"of {1e6 / 6:,.0f} asked for in each asset, {first.iloc[0]['a']:,.0f} were traded on the first day"

    def contradiction() -> object:
        bounds = [cvx.MinWeights(0.5), cvx.MaxWeights(0.1)]
        return run(cvx.SinglePeriodOptimization(goal, [*limits, *bounds]), 352)

    return {
        "factor limits": factors,
        "no-trade conditions": untraded,
        "several periods": several,
        "costs": costs,
        "share of volume": liquidity,
        "contradicting limits": contradiction,
    }


# --- Riskfolio-Lib -----------------------------------------------------------------------------------------------


def riskfolio_rows() -> dict[str, Row]:
    rp = import_module("riskfolio")

    def portfolio(**stats: str) -> Any:
        made = rp.Portfolio(returns=RETURNS)
        made.assets_stats(**({"method_mu": "hist", "method_cov": "hist"} | stats))
        return made

    def least(of: Any, measure: str = "MV") -> Any:
        return of.optimization(model="Classic", rm=measure, obj="MinRisk", rf=0, l=0, hist=True)

    def measures() -> object:
        names = "MV MAD GMD MSV FLPM SLPM CVaR TG EVaR RLVaR WR RG CVRG TGRG EVRG RVRG MDD ADD CDaR UCI EDaR RLDaR"
        own = portfolio()
        return f"{sum(least(own, name) is not None for name in names.split())} measures gave weights"

    def limited(*caps: float) -> Any:
        classes = pd.DataFrame({"Assets": NAMES, "Class": list("xxxyyy")})
        columns = ["Disabled", "Type", "Set", "Position", "Sign", "Weight", "Type Relative", "Relative Set"]
        caps_of = zip("xy", caps, strict=False)
        given = [[False, "Classes", "Class", name, "<=", cap, "", "", "", ""] for name, cap in caps_of]
        rows = pd.DataFrame(given, columns=[*columns, "Relative", "Factor"])
        own = portfolio()
        own.ainequality, own.binequality = rp.assets_constraints(rows, classes)[:2]
        return least(own)

    def views() -> object:
        own = portfolio()
        one = pd.DataFrame([[1, 0, 0, 0, 0, 0]], columns=NAMES)
        even = pd.DataFrame(np.ones((6, 1)) / 6, index=NAMES)
        own.blacklitterman_stats(one, pd.DataFrame([[0.001]]), rf=0, w=even, delta=None, eq=True)
        made = own.optimization(model="BL", rm="MV", obj="Sharpe", rf=0, hist=False)
        return made["weights"].round(3).tolist()

    return {
        "risk measures": measures,
        "limits of classes": lambda: f"0.35 and {limited(0.35)['weights'].iloc[:3].sum() - 0.35:.1e}",
        "contradicting limits": lambda: limited(0.1, 0.5),
        "Black-Litterman": views,
        "shrunk moments": lambda: least(portfolio(method_mu="JS", method_cov="ledoit"))["weights"].round(3).tolist(),
    }


# --- skfolio -----------------------------------------------------------------------------------------------------


def skfolio_rows() -> dict[str, Row]:
    optimise, measures = import_module("skfolio.optimization"), import_module("skfolio").RiskMeasure
    priors, moments = import_module("skfolio.prior"), import_module("skfolio.moments")
    validate, search = import_module("skfolio.model_selection"), import_module("sklearn.model_selection")
    mean_risk, groups = optimise.MeanRisk, {name: ["x" if name < "d" else "y"] for name in NAMES}

    def weights(**parameters: Any) -> Any:
        return mean_risk(**parameters).fit(RETURNS).weights_

    def every() -> object:
        done = [said_by(lambda of=each: weights(risk_measure=of)) for each in measures]  # type: ignore[misc]
        return f"{sum(not each.split()[0].endswith('Error:') for each in done)} of {len(done)} measures gave weights"

    def group() -> object:
        held = weights(groups=groups, linear_constraints=["x <= 0.35"])[:3].sum()
        return f"0.35 and {held - 0.35:.1e}"

    def checked() -> object:
        by = validate.CombinatorialPurgedCV(n_folds=5, n_test_folds=2)
        walk = validate.WalkForward(train_size=200, test_size=50)
        found = search.GridSearchCV(mean_risk(), {"l2_coef": [0, 0.01]}, cv=walk).fit(RETURNS)
        return f"{len(validate.cross_val_predict(mean_risk(), RETURNS, cv=by))} paths; best {found.best_params_}"

    def shrunk() -> object:
        by = priors.EmpiricalPrior(mu_estimator=moments.ShrunkMu(), covariance_estimator=moments.LedoitWolf())
        return weights(prior_estimator=by).round(3).tolist()

    def limited() -> object:
        goal = optimise.ObjectiveFunction.MAXIMIZE_RETURN
        made = mean_risk(objective_function=goal, max_variance=0.005**2).fit(RETURNS)
        return f"deviation {made.predict(RETURNS).standard_deviation:.7f} under a limit of 0.005"

    return {
        "risk measures": every,
        "limits of groups": group,
        "contradicting limits": lambda: weights(groups=groups, linear_constraints=["x <= 0.1", "y <= 0.5"]),
        "views": lambda: weights(prior_estimator=priors.BlackLitterman(views=["a == 0.001"])).round(3).tolist(),
        "entropy pooling": lambda: (
            weights(prior_estimator=priors.EntropyPooling(mean_views=["a == 0.0008"])).round(3).tolist()
        ),
        "cross-validation": checked,
        "shrunk moments": shrunk,
        "volatility as a limit": limited,
        "costs": lambda: weights(transaction_costs=0.001, previous_weights=np.ones(6) / 6).round(3).tolist(),
    }


# --- vectorbt, QuantStats ----------------------------------------------------------------------------------------


def vectorbt_rows() -> dict[str, Row]:
    vbt = import_module("vectorbt")
    hours = pd.date_range("2020-01-01", periods=1000, freq="1h")
    closes = pd.Series(100 + np.cumsum(np.random.default_rng(1).normal(0, 0.5, 1000)), index=hours)

    def parameters() -> object:
        fast, slow = vbt.MA.run_combs(closes, window=np.arange(2, 72), r=2)
        signals = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
        return f"{len(vbt.Portfolio.from_signals(closes, *signals, freq='1h').total_return())} pairs of hourly windows"

    def short() -> object:
        sold = np.where(np.arange(1000) == 0, -1, 0)
        return vbt.Portfolio.from_orders(closes, size=sold).assets().iloc[-1]

    return {"many parameters, intraday": parameters, "short positions": short}


def quantstats_rows() -> dict[str, Row]:
    qs = import_module("quantstats")
    own = RETURNS["a"]
    return {
        "figures": lambda: f"{len(qs.reports.metrics(own, mode='full', display=False))} rows of a tear sheet",
        "plots": lambda: f"{sum(not name.startswith('_') for name in dir(qs.plots))} plots",
    }


PEERS: dict[str, Callable[[], dict[str, Row]]] = {
    "bt": bt_rows,
    "cvxportfolio": cvxportfolio_rows,
    "riskfolio-lib": riskfolio_rows,
    "skfolio": skfolio_rows,
    "vectorbt": vectorbt_rows,
    "quantstats": quantstats_rows,
}
"""Rows of each peer, by the name that it is installed by. Engines that trade are not among them."""


def main(peer: str) -> None:
    """Try every row of one peer, and print what came out."""
    sys.stdout.write(f"{peer} {version(peer)}\n")
    for row, attempt in PEERS[peer]().items():
        sys.stdout.write(f"  {row}: {said_by(attempt)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
